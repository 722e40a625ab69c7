//! Domain names to containers. Empty until the proxy is built.
