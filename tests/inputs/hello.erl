%% The program of small inputs: says who it is and what it was started with, then ends.
-module(hello).
-export([start/0, main/0, run/1]).

%% `-s hello`.
start() ->
    main().

%% Gleam's `hello.main`, called through `hello@@main`.
main() ->
    Apps = [App || App <- [crypto, ssl, wx], code:lib_dir(App) =/= {error, bad_name}],
    io:format("hello from OTP ~s, arguments ~p, variable ~p, apps ~p, code at ~s~n", [
        erlang:system_info(otp_release),
        init:get_plain_arguments(),
        os:getenv("GREETING"),
        Apps,
        filename:dirname(code:which(?MODULE))
    ]),
    %% A call that makes crypto needed.
    32 = byte_size(crypto:hash(sha256, <<"x">>)),
    init:stop(7).

run(Module) ->
    Module:main().
