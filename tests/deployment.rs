//! The files by which the house is deployed: docker-compose.yml, the Dockerfile, .env.example, and
//! what stands in deploy/.
//!
//! `told` reads them as the programs do that they are for. `written` holds them against the schema of
//! the compose specification, against each other, and against what a deployment must not have.
//! `place` runs the real programs with the same files, words and variables, only at other addresses
//! and in other folders, and `running` asks what came of it; `kurrent` does so with the house on
//! KurrentDB.
//!
//! The schema in `deployment/compose-spec.json` is that of the Compose Specification, under the Apache
//! License 2.0.

mod told;

mod written;

mod place;

mod running;

mod kurrent;
