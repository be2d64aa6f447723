%% The functions of the NIF in c.
-module(sc_nif_c).

-export([add/2, upper/1, count/0, dirty_count/0, counted/0, in_threads/1, make/1, resource/1, get/1]).
-on_load(load/0).
-nifs([add/2, upper/1, count/0, dirty_count/0, counted/0, in_threads/1, make/1, resource/1, get/1]).

load() -> erlang:load_nif(filename:join(code:priv_dir(scenarios), "sc_nif_c"), 0).

add(_, _) -> erlang:nif_error(not_loaded).
upper(_) -> erlang:nif_error(not_loaded).
count() -> erlang:nif_error(not_loaded).
dirty_count() -> erlang:nif_error(not_loaded).
counted() -> erlang:nif_error(not_loaded).
in_threads(_) -> erlang:nif_error(not_loaded).
make(_) -> erlang:nif_error(not_loaded).
resource(_) -> erlang:nif_error(not_loaded).
get(_) -> erlang:nif_error(not_loaded).
