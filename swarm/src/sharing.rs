//! With whom content may be shared. Fail closed: what is not proved public is shared with nobody.

mod publicness;
pub(crate) use publicness::Publicness;

mod explain;
pub use explain::{Explanation, Sharing, Step, explain};

mod scope;
pub(crate) use scope::{Scope, is_local};

mod swarm_id;
pub(crate) use swarm_id::{repo_swarm, xorb_swarm};
