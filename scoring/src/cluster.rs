//! Owns Ballista's two programs, made to know the function `classify`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::execution::SessionStateBuilder;

use crate::function::{Classify, NAME};

/// Where the programs of a cluster meet.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The scheduler's host.
    pub host: String,
    /// The scheduler's port.
    pub port: u16,
}

/// Seconds without a sign of life after which an executor counts as lost, and its work is given to others.
const LOST: u64 = 15;
/// Seconds between two signs of life.
const SIGN: u64 = 3;

/// Runs the scheduler until it is ended.
///
/// # Errors
/// If the port cannot be had.
pub async fn scheduler(meeting: &Meeting) -> Result<()> {
    let config = SchedulerConfig {
        bind_host: meeting.host.clone(),
        external_host: meeting.host.clone(),
        bind_port: meeting.port,
        executor_timeout_seconds: LOST,
        expire_dead_executor_interval_seconds: SIGN,
        // It plans queries with the function, and needs no model for that.
        override_session_builder: Some(Arc::new(|config| {
            let mut state = SessionStateBuilder::new()
                .with_default_features()
                .with_config(config)
                .build();
            datafusion::execution::FunctionRegistry::register_udf(
                &mut state,
                Arc::new(Classify::planned().into_function()),
            )?;
            Ok(state)
        })),
        ..SchedulerConfig::default()
    };
    let address = format!("{}:{}", meeting.host, meeting.port);
    let address = address
        .parse()
        .with_context(|| format!("{address} is no address to listen on"))?;
    let cluster = BallistaCluster::new_from_config(&config).await?;
    Ok(start_server(cluster, address, Arc::new(config)).await?)
}

/// Runs an executor with the model of a bundle until it is ended. `ports` are for data and for orders.
///
/// # Errors
/// If the bundle cannot be read, or the scheduler is not there.
pub async fn executor(
    meeting: &Meeting,
    ports: [u16; 2],
    bundle: &Path,
    tasks: usize,
    folder: Option<&Path>,
) -> Result<()> {
    let function = Arc::new(Classify::of_bundle(bundle)?.into_function());
    let mut functions = BallistaFunctionRegistry::default();
    functions.scalar_functions.insert(NAME.into(), function);
    let config = ExecutorProcessConfig {
        scheduler_host: meeting.host.clone(),
        scheduler_port: meeting.port,
        port: ports[0],
        grpc_port: ports[1],
        vcores: tasks,
        work_dir: folder.map(|folder| folder.display().to_string()),
        executor_heartbeat_interval_seconds: SIGN,
        scheduler_connect_timeout_seconds: 30,
        override_function_registry: Some(Arc::new(functions)),
        ..ExecutorProcessConfig::default()
    };
    Ok(start_executor_process(Arc::new(config)).await?)
}
