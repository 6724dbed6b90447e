//! Owns the trainable tensors of a run: named, in the order of their names, and changed in place.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use shared::nn::Tensors;

/// The trainable tensors by name. The order is always that of the names, never a hash map's, so that sums over all
/// parameters (the gradient norm) and files written from them are the same in every run.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    variables: BTreeMap<String, Var>,
}

impl Parameters {
    /// Makes each tensor a variable of its own, holding a copy of the values.
    ///
    /// # Errors
    /// If a tensor cannot be copied on its device.
    pub fn from_tensors(tensors: Tensors) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for (name, tensor) in tensors {
            let variable = Var::from_tensor(&tensor)
                .with_context(|| format!("parameter {name} cannot be made trainable"))?;
            variables.insert(name, variable);
        }
        Ok(Self { variables })
    }

    /// Copies of the present values, detached from every graph.
    ///
    /// # Errors
    /// If a tensor cannot be copied on its device.
    pub fn tensors(&self) -> Result<Tensors> {
        self.variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), variable.as_detached_tensor().copy()?)))
            .collect()
    }

    /// The present values, outside of every graph and sharing the storage: what modules are built from whose tensors
    /// may be set but are not trained.
    pub fn views(&self) -> Tensors {
        self.variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.as_detached_tensor()))
            .collect()
    }

    /// What modules are built from: the trainable tensors, and beside them the frozen ones.
    /// A later [`Parameters::set`] or optimiser step is seen by the modules, which share the storage.
    pub fn var_builder(&self, frozen: &Tensors, device: &Device) -> VarBuilder<'static> {
        let mut all: HashMap<String, Tensor> = frozen
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        all.extend(
            self.variables
                .iter()
                .map(|(name, variable)| (name.clone(), variable.as_tensor().clone())),
        );
        VarBuilder::from_tensors(all, DType::F32, device)
    }

    /// The variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.variables
            .iter()
            .map(|(name, variable)| (name.as_str(), variable))
    }

    /// The variable of a name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.variables.get(name)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// How many numbers are trained.
    pub fn elements(&self) -> usize {
        self.variables
            .values()
            .map(|variable| variable.elem_count())
            .sum()
    }

    /// Overwrites one parameter's values.
    ///
    /// # Errors
    /// If there is no such parameter, or the shapes differ.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let Some(variable) = self.variables.get(name) else {
            bail!("there is no parameter {name} in this model");
        };
        if variable.shape() != value.shape() {
            bail!(
                "parameter {name} has the shape {:?}, but {:?} was given",
                variable.dims(),
                value.dims()
            );
        }
        variable
            .set(value)
            .with_context(|| format!("parameter {name} cannot be set"))
    }

    /// Overwrites all parameters; the names must be exactly these.
    ///
    /// # Errors
    /// If a name is missing or unknown, or a shape differs: the checkpoint belongs to another configuration.
    pub fn restore(&self, tensors: &Tensors) -> Result<()> {
        if let Some(missing) = self
            .variables
            .keys()
            .find(|name| !tensors.contains_key(*name))
        {
            bail!(
                "the checkpoint lacks the parameter {missing}: it belongs to another configuration"
            );
        }
        for (name, value) in tensors {
            self.set(name, value)?;
        }
        Ok(())
    }

    /// The gradients of a backward pass by name. A parameter that took no part (a prompt of a case that did not
    /// occur) has none and is left out.
    pub fn gradients(&self, store: &GradStore) -> Tensors {
        self.variables
            .iter()
            .filter_map(|(name, variable)| {
                store
                    .get(variable)
                    .map(|gradient| (name.clone(), gradient.clone()))
            })
            .collect()
    }
}

/// Adds `more` to `total`, name by name (gradient accumulation).
///
/// # Errors
/// If two gradients of one name have different shapes.
pub fn accumulate(total: &mut Tensors, more: Tensors) -> Result<()> {
    for (name, gradient) in more {
        let sum = match total.get(&name) {
            Some(so_far) => (so_far + gradient)?,
            None => gradient,
        };
        total.insert(name, sum.detach());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_see_changes_and_names_are_sorted() {
        let device = Device::Cpu;
        let ones = Tensor::ones(2, DType::F32, &device).unwrap();
        let parameters = Parameters::from_tensors(Tensors::from([
            ("b".into(), ones.clone()),
            ("a".into(), ones.clone()),
        ]))
        .unwrap();
        assert_eq!(
            parameters.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let seen = parameters
            .var_builder(&Tensors::new(), &device)
            .get(2, "b")
            .unwrap();
        parameters.set("b", &(ones * 3.0).unwrap()).unwrap();
        assert_eq!(seen.to_vec1::<f32>().unwrap(), [3.0, 3.0]);
        assert!(parameters.set("c", &seen).is_err());
    }
}
