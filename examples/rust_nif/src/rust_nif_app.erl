%% Answers GET /primes/N with how many primes there are below N, GET /panic with what becomes of a panic.
-module(rust_nif_app).
-behaviour(application).
-behaviour(supervisor).
-export([start/2, stop/1, init/1, start_link/1, accept/1]).

start(_Type, _Args) ->
    Port = list_to_integer(os:getenv("PORT", "8080")),
    {ok, Listener} = gen_tcp:listen(Port, [binary, {packet, http_bin}, {active, false}, {reuseaddr, true}]),
    io:format("listening on port ~b~n", [Port]),
    supervisor:start_link(?MODULE, Listener).

stop(_State) -> ok.

init(Listener) ->
    {ok, {#{}, [#{id => acceptor, start => {?MODULE, start_link, [Listener]}}]}}.

start_link(Listener) -> {ok, proc_lib:spawn_link(?MODULE, accept, [Listener])}.

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Server = spawn(fun() -> receive go -> serve(Socket, <<"/">>) end end),
    ok = gen_tcp:controlling_process(Socket, Server),
    Server ! go,
    accept(Listener).

serve(Socket, Path) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, _, {abs_path, New}, _}} -> serve(Socket, New);
        {ok, http_eoh} -> answer(Socket, Path);
        {ok, _} -> serve(Socket, Path);
        {error, _} -> gen_tcp:close(Socket)
    end.

answer(Socket, Path) ->
    {Status, Text} =
        try {"200 OK", text(binary:split(Path, <<"/">>, [global]))}
        catch error:_ -> {"400 Bad Request", "/primes/N counts primes below N, at most 100000000"}
        end,
    Length = integer_to_list(iolist_size(Text) + 1),
    Head = ["HTTP/1.1 ", Status, "\r\ncontent-length: ", Length, "\r\nconnection: close\r\n\r\n"],
    _ = gen_tcp:send(Socket, [Head, Text, "\n"]),
    gen_tcp:close(Socket).

text([<<>>, <<"primes">>, Limit]) ->
    Count = rust_nif_native:primes(binary_to_integer(Limit)),
    io_lib:format("Rust on OTP ~s found ~b primes below ~s", [erlang:system_info(otp_release), Count, Limit]);
text([<<>>, <<"panic">>]) ->
    try rust_nif_native:panics()
    catch error:Reason -> io_lib:format("a panic is the exception ~p", [Reason])
    end;
text([<<>>, <<>>]) ->
    text([<<>>, <<"primes">>, <<"1000">>]).
