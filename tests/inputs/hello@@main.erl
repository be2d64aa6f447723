%% What Gleam generates beside a package's modules: the function that `entrypoint.sh` calls.
-module('hello@@main').
-export([run/1]).

run(Module) ->
    Module:main().
