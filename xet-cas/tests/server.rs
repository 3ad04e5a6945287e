//! The origin, spoken to over HTTP as clients do: one connection a request, on 127.0.0.1.

#[cfg(test)]
mod server {
    mod lab;
    mod model;

    mod access;
    mod bounds;
    mod commits;
    mod connections;
    mod data;
    mod dedup;
    mod discussions;
    mod every_route;
    mod grants;
    mod history;
    mod identities;
    mod lfs;
    mod listings;
    mod operation;
    mod repositories;
    mod revisions;
    mod storage;
    mod uploads;
}
