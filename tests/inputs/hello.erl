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
    other("/usr/bin/other"),
    init:stop(7).

%% A program of another C library, where one was included.
other(Program) ->
    case filelib:is_regular(Program) of
        true ->
            Port = open_port({spawn_executable, Program}, [exit_status, {args, ["a b"]}, {line, 80}]),
            Said = receive {Port, {data, {eol, Line}}} -> Line end,
            Status = receive {Port, {exit_status, Code}} -> Code end,
            io:format("~s, status ~b~n", [Said, Status]);
        false ->
            ok
    end.

run(Module) ->
    Module:main().
