%% The native functions of native/src/lib.rs.
-module(rust_nif_native).
-export([primes/1, panics/0]).
-on_load(load/0).

load() ->
    erlang:load_nif(filename:join(code:priv_dir(rust_nif), "rust_nif"), 0).

primes(_Limit) -> erlang:nif_error(not_loaded).

panics() -> erlang:nif_error(not_loaded).
