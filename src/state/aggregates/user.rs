//! An aggregate of the user's as DataFusion's function, for snapshots and live queries alike.
//!
//! With a COMBINEFUNC the [states](super::fold) of parts are combined. Without one they cannot be:
//! then the rows of a group are kept, in the order in which they came, and the answer is folded from
//! all of them when it is asked for.
//!
//! | | rows only come | rows are taken back |
//! |---|---|---|
//! | COMBINEFUNC and MINVFUNC | a state | a state |
//! | COMBINEFUNC | a state | all rows, sorted |
//! | neither | all rows | all rows, sorted |

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;

use super::Kernel;
use super::accumulator::{self, GroupsOfKernel, OneOfKernel};
use super::arrivals::Arrivals;
use super::fold::{FoldedStates, UserFold};
use super::kept::KeptValues;
use crate::error::{Error, Result};

/// What the arguments of a call are converted to, if they can be.
pub type ArgumentTypes = Arc<dyn Fn(&[DataType]) -> Result<Vec<DataType>> + Send + Sync>;

/// An aggregate.
#[derive(Clone)]
pub struct UserAggregate {
    /// Its number: two with the same one are the same.
    id: u64,
    fold: Arc<UserFold>,
    arguments: Vec<DataType>,
    result: FieldRef,
    types: ArgumentTypes,
    signature: Signature,
    /// It is asked about rows that are all there: nothing is combined.
    is_whole: bool,
}

impl UserAggregate {
    /// Over arguments of these types, with a result of this field.
    pub fn new(
        id: u64,
        fold: UserFold,
        arguments: Vec<DataType>,
        result: FieldRef,
        types: ArgumentTypes,
    ) -> UserAggregate {
        let signature = Signature::user_defined(Volatility::Immutable);
        let fold = Arc::new(fold);
        UserAggregate { id, fold, arguments, result, types, signature, is_whole: false }
    }

    /// The one that an expression calls.
    pub fn of(expr: &AggregateFunctionExpr) -> Option<&UserAggregate> {
        expr.fun().inner().downcast_ref::<UserAggregate>()
    }

    /// The call over rows that are all there.
    fn whole(&self) -> Result<Arc<AggregateFunctionExpr>> {
        let function = AggregateUDF::from(UserAggregate { is_whole: true, ..self.clone() });
        let name = |at: usize| format!("a{at}");
        let fields = self.arguments.iter().enumerate();
        let fields: Vec<Field> =
            fields.map(|(at, t)| Field::new(name(at), t.clone(), true)).collect();
        let args = (0..fields.len()).map(|at| Arc::new(Column::new(&name(at), at)) as _).collect();
        let expr = AggregateExprBuilder::new(Arc::new(function), args)
            .schema(Arc::new(Schema::new(fields)))
            .alias(&self.fold.name)
            .build()?;
        Ok(Arc::new(expr))
    }

    /// A kernel without slots; `retracts`: rows may be taken back.
    pub fn kernel(&self, retracts: bool) -> Result<Box<dyn Kernel>> {
        let combines = self.fold.combine.is_some();
        let types = || self.arguments.clone();
        if self.is_whole || combines && (!retracts || self.fold.inverse.is_some()) {
            Ok(Box::new(FoldedStates::new(Arc::clone(&self.fold))))
        } else if retracts {
            Ok(Box::new(KeptValues::new(self.whole()?, types())?))
        } else {
            Ok(Box::new(Arrivals::new(self.whole()?, types())?))
        }
    }

    fn check(&self, args: &AccumulatorArgs<'_>) -> Result<()> {
        if args.is_distinct || !args.order_bys.is_empty() {
            return Err(Error::unsupported(format!(
                "DISTINCT and ORDER BY in {} are not supported",
                self.fold.name
            ))
            .hint("Select the rows in a subquery."));
        }
        Ok(())
    }
}

impl fmt::Debug for UserAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fold.name)
    }
}

impl PartialEq for UserAggregate {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.is_whole) == (other.id, other.is_whole)
    }
}

impl Eq for UserAggregate {}

impl Hash for UserAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl AggregateUDFImpl for UserAggregate {
    fn name(&self) -> &str {
        &self.fold.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok((self.types)(types)?)
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field(&self, _: &[FieldRef]) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.result))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        self.check(&args)?;
        Ok(Box::new(OneOfKernel::new(self.kernel(false)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        accumulator::state_fields(self.kernel(false)?.as_ref(), args.name)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.check(&args)?;
        Ok(Box::new(GroupsOfKernel::new(self.kernel(false)?)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
