//! Owns what launchers say in the environment: how many processes there are, and which one this is.

use anyhow::{Context, Result, bail};

/// A process's place among those of a launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Who started it, for people.
    pub launcher: &'static str,
    /// Which process this is, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Which one of its machine it is, from 0: the number of its GPU.
    pub on_machine: usize,
}

/// The variables of a launcher: size, rank, rank on the machine.
const LAUNCHERS: [(&str, [&str; 3]); 4] = [
    ("torchrun", ["WORLD_SIZE", "RANK", "LOCAL_RANK"]),
    (
        "Open MPI's mpirun",
        [
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_LOCAL_RANK",
        ],
    ),
    // Of the step, not of the job: a script's own commands are no processes of a group.
    (
        "srun",
        ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"],
    ),
    (
        "MPICH's mpiexec",
        ["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"],
    ),
];

impl Place {
    /// The place that the first launcher found gives; none if no launcher has started this process.
    ///
    /// # Errors
    /// If a launcher's variables are incomplete or no numbers.
    pub(super) fn found(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let found = LAUNCHERS
            .iter()
            .find(|(_, [size, ..])| variable(size).is_some());
        let Some((launcher, names)) = found else {
            return Ok(None);
        };
        let number = |name: &str| {
            let value = variable(name)
                .with_context(|| format!("{launcher} has set {}, but not {name}", names[0]))?;
            let number = value.parse::<usize>();
            number.with_context(|| format!("{name} is {value:?}, which is no number"))
        };
        let [size, rank, on_machine] = [number(names[0])?, number(names[1])?, number(names[2])?];
        if rank >= size {
            bail!("{launcher} says that this is process {rank} of {size}");
        }
        Ok(Some(Self {
            launcher,
            rank,
            size,
            on_machine,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        Place::found(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_understood() {
        assert_eq!(found(&[]).unwrap(), None);
        let torchrun = [("WORLD_SIZE", "8"), ("RANK", "5"), ("LOCAL_RANK", "1")];
        let place = found(&torchrun).unwrap().unwrap();
        assert_eq!((place.rank, place.size, place.on_machine), (5, 8, 1));
        // A batch script of Slurm's that starts the program without srun.
        let script = [("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")];
        assert_eq!(found(&script).unwrap(), None);
    }

    #[test]
    fn incomplete_or_impossible_places_are_told() {
        for (variables, told) in [
            (&[("WORLD_SIZE", "2")][..], "but not RANK"),
            (
                &[("WORLD_SIZE", "two"), ("RANK", "0"), ("LOCAL_RANK", "0")],
                "\"two\"",
            ),
            (
                &[("WORLD_SIZE", "2"), ("RANK", "2"), ("LOCAL_RANK", "0")],
                "process 2 of 2",
            ),
        ] {
            let error = format!("{:#}", found(variables).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
