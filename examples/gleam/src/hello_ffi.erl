-module(hello_ffi).
-export([serve/1]).

serve(Answer) ->
    Port = list_to_integer(os:getenv("PORT", "8080")),
    {ok, Listener} = gen_tcp:listen(Port, [binary, {packet, http_bin}, {active, false}, {reuseaddr, true}]),
    io:format("listening on port ~b~n", [Port]),
    accept(Listener, Answer).

accept(Listener, Answer) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Server = spawn(fun() -> receive go -> asked(Socket, <<"/">>, Answer) end end),
    ok = gen_tcp:controlling_process(Socket, Server),
    Server ! go,
    accept(Listener, Answer).

asked(Socket, Path, Answer) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, _, {abs_path, New}, _}} -> asked(Socket, New, Answer);
        {ok, http_eoh} -> answer(Socket, Answer(Path));
        {ok, _} -> asked(Socket, Path, Answer);
        {error, _} -> gen_tcp:close(Socket)
    end.

answer(Socket, Text) ->
    Length = integer_to_list(byte_size(Text)),
    _ = gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\ncontent-length: ", Length, "\r\nconnection: close\r\n\r\n", Text]),
    gen_tcp:close(Socket).
