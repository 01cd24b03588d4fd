//! What a host must survive: bad components, bad requests, functions that run wild, damaged files, a full disk. Each
//! time somebody is told what is wrong, nobody else notices, and nothing is lost.

mod components;
mod damage;
mod disk;
mod limits;
mod overload;
mod requests;
