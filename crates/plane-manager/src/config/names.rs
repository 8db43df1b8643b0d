//! The names of the variables.

/// Gives a macro every variable that is read: the field that it is kept in, the constant of its name, and its name.
macro_rules! with_variables {
    ($macro:ident) => {
        $macro! {
            request_plane REQUEST_PLANE = "DYN_REQUEST_PLANE";
            tcp_rpc_host TCP_RPC_HOST = "DYN_TCP_RPC_HOST";
            tcp_rpc_port TCP_RPC_PORT = "DYN_TCP_RPC_PORT";
            tcp_max_message_size TCP_MAX_MESSAGE_SIZE = "DYN_TCP_MAX_MESSAGE_SIZE";
            tcp_shrink_message_size TCP_SHRINK_MESSAGE_SIZE = "DYN_TCP_SHRINK_MESSAGE_SIZE";
            tcp_request_timeout TCP_REQUEST_TIMEOUT = "DYN_TCP_REQUEST_TIMEOUT";
            tcp_pool_size TCP_POOL_SIZE = "DYN_TCP_POOL_SIZE";
            tcp_connect_timeout TCP_CONNECT_TIMEOUT = "DYN_TCP_CONNECT_TIMEOUT";
            tcp_channel_buffer TCP_CHANNEL_BUFFER = "DYN_TCP_CHANNEL_BUFFER";
            tcp_tls_cert TCP_TLS_CERT = "DYN_TCP_TLS_CERT";
            tcp_tls_key TCP_TLS_KEY = "DYN_TCP_TLS_KEY";
            tcp_tls_ca TCP_TLS_CA = "DYN_TCP_TLS_CA";
            tcp_tls_client_ca TCP_TLS_CLIENT_CA = "DYN_TCP_TLS_CLIENT_CA";
            tcp_tls_server_name TCP_TLS_SERVER_NAME = "DYN_TCP_TLS_SERVER_NAME";
            tcp_tls_required TCP_TLS_REQUIRED = "DYN_TCP_TLS_REQUIRED";
            tcp_tls_insecure_skip_verify TCP_TLS_INSECURE_SKIP_VERIFY = "DYN_TCP_TLS_INSECURE_SKIP_VERIFY";
            nats_server NATS_SERVER = "NATS_SERVER";
            nats_auth_username NATS_AUTH_USERNAME = "NATS_AUTH_USERNAME";
            nats_auth_password NATS_AUTH_PASSWORD = "NATS_AUTH_PASSWORD";
            nats_auth_token NATS_AUTH_TOKEN = "NATS_AUTH_TOKEN";
            nats_auth_nkey NATS_AUTH_NKEY = "NATS_AUTH_NKEY";
            nats_auth_credentials_file NATS_AUTH_CREDENTIALS_FILE = "NATS_AUTH_CREDENTIALS_FILE";
            nats_tls_required NATS_TLS_REQUIRED = "NATS_TLS_REQUIRED";
            nats_tls_ca NATS_TLS_CA = "NATS_TLS_CA";
            nats_tls_cert NATS_TLS_CERT = "NATS_TLS_CERT";
            nats_tls_key NATS_TLS_KEY = "NATS_TLS_KEY";
            nats_prefix NATS_PREFIX = "DYN_NATS_PREFIX";
            nats_inbox_prefix NATS_INBOX_PREFIX = "DYN_NATS_INBOX_PREFIX";
            nats_max_message_size NATS_MAX_MESSAGE_SIZE = "DYN_NATS_MAX_MESSAGE_SIZE";
            nats_chunking NATS_CHUNKING = "DYN_NATS_CHUNKING";
            nats_request_timeout NATS_REQUEST_TIMEOUT = "DYN_NATS_REQUEST_TIMEOUT";
            nats_connect_timeout NATS_CONNECT_TIMEOUT = "DYN_NATS_CONNECT_TIMEOUT";
            nats_delivery NATS_DELIVERY = "DYN_NATS_DELIVERY";
            nats_store_max_bytes NATS_STORE_MAX_BYTES = "DYN_NATS_STORE_MAX_BYTES";
            nats_store_max_age NATS_STORE_MAX_AGE = "DYN_NATS_STORE_MAX_AGE";
            nats_store_replicas NATS_STORE_REPLICAS = "DYN_NATS_STORE_REPLICAS";
            nats_duplicate_window NATS_DUPLICATE_WINDOW = "DYN_NATS_DUPLICATE_WINDOW";
            nats_max_attempts NATS_MAX_ATTEMPTS = "DYN_NATS_MAX_ATTEMPTS";
            nats_retry_delay NATS_RETRY_DELAY = "DYN_NATS_RETRY_DELAY";
            discovery_backend DISCOVERY_BACKEND = "DYN_DISCOVERY_BACKEND";
            static_instances STATIC_INSTANCES = "DYN_STATIC_INSTANCES";
            discovery_dir DISCOVERY_DIR = "DYN_DISCOVERY_DIR";
            nats_bucket NATS_BUCKET = "DYN_NATS_BUCKET";
            nats_instance_ttl NATS_INSTANCE_TTL = "DYN_NATS_INSTANCE_TTL";
        }
    };
}

pub(super) use with_variables;

macro_rules! constants {
    ($($field:ident $constant:ident = $name:literal;)*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// Every variable that is read.
        pub(super) const KNOWN: &[&str] = &[$($constant),*];
    };
}

with_variables!(constants);
