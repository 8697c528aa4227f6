//! What a plan's options carry for our own rules: DataFusion hands them to whoever looks at a plan, and
//! calls them options that can be set, of which none can.

/// Makes a type that can be cloned one that options carry.
macro_rules! carried {
    ($carried:ty, $prefix:literal) => {
        impl datafusion::common::config::ConfigExtension for $carried {
            const PREFIX: &'static str = $prefix;
        }

        impl datafusion::common::config::ExtensionOptions for $carried {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
                Box::new(self.clone())
            }

            fn set(&mut self, key: &str, _: &str) -> datafusion::common::Result<()> {
                let what = format!("there is no option {key}");
                Err(datafusion::common::DataFusionError::Configuration(what))
            }

            fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
                Vec::new()
            }
        }
    };
}
pub(crate) use carried;
