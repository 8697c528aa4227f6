//! Functions that are one by their name, whatever they are made of: what DataFusion asks of any function
//! to tell two expressions apart.

/// Compares and hashes a type by its field `name`, or by that of a field.
macro_rules! by_name {
    ($function:ty) => {
        by_name!($function, name);
    };
    ($function:ty, $($name:ident).+) => {
        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                self.$($name).+ == other.$($name).+
            }
        }

        impl Eq for $function {}

        impl std::hash::Hash for $function {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.$($name).+.hash(state);
            }
        }
    };
}
pub(crate) use by_name;
