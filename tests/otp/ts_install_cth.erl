%% Suites name this hook of OTP's own test server, which compiles their C programs; ours are compiled before.
-module(ts_install_cth).

-export([init/2]).

init(_Id, _Options) ->
    {ok, []}.
