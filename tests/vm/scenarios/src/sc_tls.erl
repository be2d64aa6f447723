%% TLS with OpenSSL's own programs on the other side, which run on the host: it passes what is needed in the environment.
-module(sc_tls).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{tls_loopback, fun loopback/0},
     {host_tls_client, fun client/0},
     {host_tls_server, fun server/0}].

versions() -> ['tlsv1.2', 'tlsv1.3'].

loopback() ->
    {ok, _} = application:ensure_all_started(ssl),
    Key = {namedCurve, secp256r1},
    Chain = #{root => [{digest, sha256}, {key, Key}], intermediates => [[{digest, sha256}, {key, Key}]],
              peer => [{digest, sha256}, {key, Key}]},
    #{server_config := SC, client_config := CC} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    [begin
         {ok, L} = ssl:listen(0, [binary, {active, false}, {reuseaddr, true}, {versions, [V]}, {verify, verify_peer},
                                  {fail_if_no_peer_cert, true} | SC]),
         {ok, {_, Port}} = ssl:sockname(L),
         Echo = spawn_monitor(fun() -> accept(L) end),
         {ok, C} = ssl:connect("localhost", Port, [binary, {active, false}, {versions, [V]}, {verify, verify_peer},
                                                   {server_name_indication, disable} | CC], 60000),
         Data = binary:copy(<<"0123456789">>, 20000),
         ok = ssl:send(C, Data),
         {ok, Data} = ssl:recv(C, byte_size(Data), 60000),
         {ok, Info} = ssl:connection_information(C, [protocol, selected_cipher_suite]),
         say("~p", [Info]),
         ok = ssl:close(C),
         {Pid, M} = Echo,
         receive {'DOWN', M, _, Pid, Why} -> say("~p", [Why]) end
     end || V <- versions()].

%% Sends back what comes until the other side closes.
accept(L) ->
    {ok, T} = ssl:transport_accept(L, 60000),
    {ok, C} = ssl:handshake(T, 60000),
    echo(C).

echo(C) ->
    case ssl:recv(C, 0, 60000) of
        {ok, Data} -> ok = ssl:send(C, Data), echo(C);
        {error, closed} -> ok
    end.

%% The host's `openssl s_server -rev` sends each line back to front.
client() ->
    {ok, _} = application:ensure_all_started(ssl),
    Host = os:getenv("HOST_ADDRESS"),
    [begin
         Port = list_to_integer(os:getenv(Name)),
         {ok, C} = ssl:connect(Host, Port, [binary, {active, false}, {packet, line}, {versions, [V]}, {verify, verify_peer},
                                            {cacerts, [ca()]}, {server_name_indication, "tyn.test"}], 60000),
         ok = ssl:send(C, <<"drawer\n">>),
         say("~p", [ssl:recv(C, 0, 60000)]),
         {ok, Info} = ssl:connection_information(C, [protocol, sni_hostname]),
         say("~p", [lists:sort(Info)]),
         ok = ssl:close(C)
     end || {V, Name} <- lists:zip(versions(), ["SERVER_TLS_1_2", "SERVER_TLS_1_3"])],
    Port = list_to_integer(os:getenv("SERVER_TLS_1_3")),
    {error, {tls_alert, {Alert, _}}} =
        ssl:connect(Host, Port, [{versions, ['tlsv1.3']}, {verify, verify_peer}, {cacerts, []}, {server_name_indication, "tyn.test"}], 60000),
    say("not trusted: ~p", [Alert]).

ca() ->
    [{'Certificate', Der, _}] = public_key:pem_decode(base64:decode(os:getenv("CA_PEM"))),
    Der.

%% Serves `openssl s_client` of the host until that has asked by each version.
server() ->
    {ok, _} = application:ensure_all_started(ssl),
    Dir = sc:temp_dir("tls"),
    ok = file:write_file(Dir ++ "/cert.pem", base64:decode(os:getenv("CERT_PEM"))),
    ok = file:write_file(Dir ++ "/key.pem", base64:decode(os:getenv("KEY_PEM"))),
    {ok, L} = ssl:listen(list_to_integer(os:getenv("TLS_PORT")),
                         [binary, {active, false}, {reuseaddr, true}, {versions, versions()}, {packet, line},
                          {certfile, Dir ++ "/cert.pem"}, {keyfile, Dir ++ "/key.pem"}]),
    say("listening"),
    [begin
         {ok, T} = ssl:transport_accept(L, 100000),
         case ssl:handshake(T, 60000) of
             {ok, C} ->
                 {ok, [{protocol, V}]} = ssl:connection_information(C, [protocol]),
                 {ok, Line} = ssl:recv(C, 0, 60000),
                 say("~p ~p", [V, Line]),
                 ok = ssl:send(C, [<<"you said ">>, Line]),
                 %% The client ends first.
                 {error, closed} = ssl:recv(C, 0, 60000);
             {error, Why} ->
                 say("~p", [Why])
         end
     end || _ <- versions()],
    ok = ssl:close(L).
