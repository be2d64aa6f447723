%% Something to load.
-module(sc_spare).
-export([answer/0]).

answer() -> 42.
