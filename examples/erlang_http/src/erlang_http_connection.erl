%% One connection: HTTP/1.1 with keep-alive, requests without a body.
-module(erlang_http_connection).

-export([start/0, serve/2]).

%% How long an idle connection is kept, in milliseconds.
-define(IDLE_MS, 600_000).

start() ->
    proc_lib:spawn(fun() -> receive {serve, Socket} -> requests(Socket) end end).

%% Called when the process owns the socket.
serve(Pid, Socket) ->
    Pid ! {serve, Socket},
    ok.

requests(Socket) ->
    case gen_tcp:recv(Socket, 0, ?IDLE_MS) of
        {ok, {http_request, Method, {abs_path, Path}, Version}} ->
            Keep = headers(Socket, Version >= {1, 1}),
            case Keep =/= error andalso answer(Socket, Method, Path, Keep) of
                ok when Keep -> requests(Socket);
                _ -> gen_tcp:close(Socket)
            end;
        {ok, _} ->
            send(Socket, 400, <<"bad request\n">>, false),
            gen_tcp:close(Socket);
        {error, _} ->
            gen_tcp:close(Socket)
    end.

%% Reads the headers; returns whether the connection is kept, or `error` when there is none any more or a body follows.
headers(Socket, Keep) ->
    case gen_tcp:recv(Socket, 0, ?IDLE_MS) of
        {ok, http_eoh} ->
            Keep;
        {ok, {http_header, _, 'Connection', _, Value}} ->
            case string:lowercase(Value) of
                <<"close">> -> headers(Socket, false);
                <<"keep-alive">> -> headers(Socket, true);
                _ -> headers(Socket, Keep)
            end;
        {ok, {http_header, _, 'Content-Length', _, <<"0">>}} ->
            headers(Socket, Keep);
        {ok, {http_header, _, Name, _, _}} when Name =:= 'Content-Length'; Name =:= 'Transfer-Encoding' ->
            send(Socket, 413, <<"requests with a body are not served\n">>, false),
            error;
        {ok, {http_header, _, _, _, _}} ->
            headers(Socket, Keep);
        _ ->
            error
    end.

answer(Socket, 'GET', <<"/">>, Keep) ->
    Text = io_lib:format("Hello from Erlang/OTP ~s (~s ~s) on ~b schedulers~n",
                         [erlang:system_info(otp_release), erlang:system_info(emu_flavor),
                          erlang:system_info(version), erlang:system_info(schedulers_online)]),
    send(Socket, 200, iolist_to_binary(Text), Keep);
answer(Socket, 'GET', _, Keep) ->
    send(Socket, 404, <<"not found\n">>, Keep);
answer(Socket, _, _, Keep) ->
    send(Socket, 405, <<"only GET is served\n">>, Keep).

send(Socket, Status, Body, Keep) ->
    gen_tcp:send(Socket,
                 [<<"HTTP/1.1 ">>, status(Status),
                  <<"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ">>,
                  integer_to_binary(byte_size(Body)),
                  case Keep of
                      true -> <<"\r\n\r\n">>;
                      false -> <<"\r\nconnection: close\r\n\r\n">>
                  end,
                  Body]).

status(200) -> <<"200 OK">>;
status(400) -> <<"400 Bad Request">>;
status(404) -> <<"404 Not Found">>;
status(405) -> <<"405 Method Not Allowed">>;
status(413) -> <<"413 Content Too Large">>.
