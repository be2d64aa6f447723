%% Sockets on the loopback interface: IPv6 beside IPv4, through gen_tcp, gen_udp, the socket module, and both resolvers.
-module(sc_net).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{net_tcp_v6, fun tcp_v6/0},
     {net_dual_stack, fun dual_stack/0},
     {net_udp_v6, fun udp_v6/0},
     {net_socket_v6, fun socket_v6/0},
     {net_multicast_sources, fun multicast_sources/0},
     {net_socket_options, fun socket_options/0},
     {net_counters, fun counters/0},
     {net_interfaces, fun interfaces/0},
     {net_no_sctp, fun no_sctp/0},
     {net_resolver_v6, fun resolver_v6/0},
     {net_many, fun many/0}].

tcp_v6() ->
    {ok, L} = gen_tcp:listen(0, [inet6, binary, {ip, {0,0,0,0,0,0,0,1}}, {active, false}]),
    {ok, {Address, Port}} = inet:sockname(L),
    say("~p", [Address]),
    {ok, C} = gen_tcp:connect({0,0,0,0,0,0,0,1}, Port, [inet6, binary, {active, false}]),
    {ok, S} = gen_tcp:accept(L),
    {ok, {Peer, _}} = inet:peername(S),
    say("~p", [Peer]),
    Data = crypto:strong_rand_bytes(2000000),
    Self = self(),
    spawn_link(fun() -> Self ! {echoed, echo(S)} end),
    ok = gen_tcp:controlling_process(S, self()),
    spawn_link(fun() -> ok = gen_tcp:send(C, Data) end),
    {ok, Back} = gen_tcp:recv(C, byte_size(Data)),
    say("~p", [Back =:= Data]),
    ok = gen_tcp:shutdown(C, write),
    say("~p", [gen_tcp:recv(C, 0)]),
    receive {echoed, N} -> say("~p", [N]) end,
    say("~p", [[inet:getopts(L, [O]) || O <- [ipv6_v6only, tclass, recvtclass]]]),
    ok = gen_tcp:close(L),
    say("~p", [gen_tcp:connect({0,0,0,0,0,0,0,1}, Port, [inet6], 5000)]).

echo(S) -> echo(S, 0).
echo(S, N) ->
    case gen_tcp:recv(S, 0) of
        {ok, Data} -> ok = gen_tcp:send(S, Data), echo(S, N + byte_size(Data));
        {error, closed} -> gen_tcp:close(S), N
    end.

dual_stack() ->
    [dual_stack(Only) || Only <- [false, true]].

dual_stack(Only) ->
    {ok, L} = gen_tcp:listen(0, [inet6, {ipv6_v6only, Only}, {active, false}]),
    {ok, Port} = inet:port(L),
    Try = fun(Family, Address) ->
        case gen_tcp:connect(Address, Port, [Family, {active, false}], 5000) of
            {ok, C} ->
                {ok, S} = gen_tcp:accept(L, 5000),
                {ok, {Seen, _}} = inet:peername(S),
                gen_tcp:close(C),
                gen_tcp:close(S),
                Seen;
            Error -> Error
        end
    end,
    say("~p ~p ~p ~p", [Only, Try(inet, {127,0,0,1}), Try(inet6, {0,0,0,0,0,0,0,1}), Try(inet6, {0,0,0,0,0,16#ffff,16#7f00,1})]),
    say("~p", [case gen_tcp:listen(Port, [inet]) of {ok, X} -> gen_tcp:close(X); Error -> Error end]),
    gen_tcp:close(L).

udp_v6() ->
    {ok, A} = gen_udp:open(0, [inet6, binary, {active, false}, {recvtclass, true}]),
    {ok, B} = gen_udp:open(0, [inet6, binary, {active, false}, {tclass, 16#20}]),
    {ok, Port} = inet:port(A),
    [begin
         ok = gen_udp:send(B, To, Port, <<"hello">>),
         {ok, {From, _, Control, Data}} = gen_udp:recv(A, 0, 5000),
         say("~p ~p ~p", [From, Control, Data])
     end || To <- [{0,0,0,0,0,0,0,1}, {0,0,0,0,0,16#ffff,16#7f00,1}]],
    gen_udp:close(A),
    ok = gen_udp:connect(B, {0,0,0,0,0,0,0,1}, Port),
    ok = gen_udp:send(B, <<"nobody">>),
    say("~p", [gen_udp:recv(B, 0, 5000)]),
    gen_udp:close(B).

%% The socket module speaks to the kernel by itself.
socket_v6() ->
    {ok, L} = socket:open(inet6, stream, tcp),
    ok = socket:setopt(L, {ipv6, v6only}, true),
    ok = socket:bind(L, #{family => inet6, addr => loopback, port => 0}),
    ok = socket:listen(L),
    {ok, #{port := Port} = At} = socket:sockname(L),
    say("~p", [At#{port := 0}]),
    {ok, C} = socket:open(inet6, stream, tcp),
    ok = socket:connect(C, #{family => inet6, addr => loopback, port => Port}),
    {ok, S} = socket:accept(L),
    ok = socket:send(C, <<"hello">>),
    say("~p", [socket:recv(S, 5)]),
    {ok, Peer} = socket:peername(S),
    say("~p", [Peer#{port := 0}]),
    say("~p", [[socket:getopt(C, O) || O <- [{socket, domain}, {socket, type}, {socket, protocol}, {ipv6, unicast_hops}]]]),
    [ok = socket:close(X) || X <- [S, C, L]],
    {ok, U} = socket:open(inet6, dgram, udp),
    ok = socket:bind(U, #{family => inet6, addr => loopback, port => 0}),
    {ok, #{port := UdpPort}} = socket:sockname(U),
    [ok = socket:setopt(U, {ipv6, O}, true) || O <- [recvpktinfo, recvhoplimit]],
    {ok, V} = socket:open(inet6, dgram, udp),
    ok = socket:sendto(V, <<"datagram">>, #{family => inet6, addr => loopback, port => UdpPort}),
    {ok, #{iov := Iov, ctrl := Control}} = socket:recvmsg(U),
    say("~p ~p", [Iov, [{T, maps:get(value, M, none)} || #{type := T} = M <- Control]]),
    [ok = socket:close(X) || X <- [U, V]].

interfaces() ->
    {ok, All} = inet:getifaddrs(),
    Lo = proplists:get_value("lo", All),
    say("~p", [lists:sort([A || {addr, A} <- Lo])]),
    say("~p", [lists:sort([M || {netmask, M} <- Lo])]),
    say("~p", [inet:getaddr("::1", inet6)]),
    say("~p", [inet:getaddr("ip6-localhost", inet6)]),
    say("~p", [inet:parse_ipv6strict_address("fe80::1%2")]).

%% There is no libsctp, so the emulator asks no kernel for SCTP.
no_sctp() ->
    [say("~p", [gen_sctp:open(0, Options)]) || Options <- [[], [{type, stream}], [inet6]]].

%% A name server of our own: asked for AAAA records over IPv6.
%% What getting each option says that the socket module knows, and setting it to what it is.
socket_options() ->
    %% Those of packets that nobody sends, and what depends on how a connection began.
    Leave = [{ip, recvopts}, {ip, retopts}, {ipv6, flowinfo}, {tcp, maxseg}],
    %% Of interfaces and times local sockets know nothing here.
    Local = [{socket, bindtodevice}, {socket, timestamp}],
    Options = [Option || {Option, true} <- lists:sort(socket:supports(options)), not lists:member(Option, Leave)],
    Kinds = [{inet, stream, tcp}, {inet6, stream, tcp}, {inet, dgram, udp}, {inet6, dgram, udp}, {local, stream, default},
             {local, dgram, default}, {local, seqpacket, default}],
    [begin
         {ok, S} = socket:open(Domain, Type, Protocol),
         [say("~p ~p ~p: ~s", [Domain, Type, Option, get_and_set(S, Option)])
          || Option <- Options, Domain =/= local orelse not lists:member(Option, Local)],
         ok = socket:close(S)
     end || {Domain, Type, Protocol} <- Kinds],
    {ok, L} = socket:open(inet, stream, tcp),
    ok = socket:bind(L, #{family => inet, addr => loopback, port => 0}),
    ok = socket:listen(L),
    {ok, At} = socket:sockname(L),
    {ok, C} = socket:open(inet, stream, tcp),
    ok = socket:connect(C, At),
    {ok, A} = socket:accept(L),
    [say("~s ~p: ~s", [Who, Option, get_and_set(S, Option)])
     || {Who, S} <- [{"listening", L}, {"connected", C}, {"accepted", A}], Option <- Options],
    [say("congestion control ~s: ~p ~p", [Name, socket:setopt(C, {tcp, congestion}, Name), socket:getopt(C, {tcp, congestion})])
     || Name <- ["reno", "nobody", "cubic"]],
    [ok = socket:close(S) || S <- [L, C, A]].

get_and_set(S, Option) ->
    try socket:getopt(S, Option) of
        {ok, Value} -> io_lib:format("ok, ~p", [try socket:setopt(S, Option, Value) catch _:Why -> Why end]);
        Error -> io_lib:format("~p", [Error])
    catch _:Why -> io_lib:format("~p", [Why])
    end.

resolver_v6() ->
    {ok, Server} = gen_udp:open(0, [inet6, binary, {active, false}, {ip, {0,0,0,0,0,0,0,1}}]),
    {ok, Port} = inet:port(Server),
    spawn_link(fun() -> serve(Server) end),
    Options = [{nameservers, [{{0,0,0,0,0,0,0,1}, Port}]}, {timeout, 20000}],
    {ok, Message} = inet_res:resolve("six.example", in, aaaa, Options),
    say("~p", [[inet_dns:rr(R, data) || R <- inet_dns:msg(Message, anlist)]]),
    say("~p", [inet_res:lookup("four.example", in, a, Options)]),
    say("~p", [inet_res:resolve("none.example", in, aaaa, Options) =:= {error, nxdomain}]).

serve(Server) ->
    {ok, {Address, Port, <<Id:16, _:16, 1:16, _:48, Rest/binary>>}} = gen_udp:recv(Server, 0),
    Question = binary:part(Rest, 0, question_length(Rest, 0)),
    Answer = fun(Type, Data) -> <<16#c00c:16, Type:16, 1:16, 60:32, (byte_size(Data)):16, Data/binary>> end,
    {Code, Count, Record} = case Question of
        <<3, "six", _/binary>> -> {0, 1, Answer(28, <<16#2001:16, 16#db8:16, 0:80, 1:16>>)};
        <<4, "four", _/binary>> -> {0, 1, Answer(1, <<192, 0, 2, 1>>)};
        _ -> {3, 0, <<>>}
    end,
    Header = <<Id:16, 16#8400:16/unsigned, 1:16, Count:16, 0:32>>,
    <<Before:28/bits, _:4, After/bits>> = Header,
    Reply = [<<Before/bits, Code:4, After/bits>>, Question, Record],
    ok = gen_udp:send(Server, Address, Port, Reply),
    serve(Server).

%% Returns the length of a name with the type and class behind it.
question_length(<<0, _/binary>>, N) -> N + 5;
question_length(<<L, _:L/binary, Rest/binary>>, N) -> question_length(Rest, N + 1 + L).

%% Connections of both families at once.
many() ->
    {ok, L} = gen_tcp:listen(0, [inet6, binary, {ipv6_v6only, false}, {backlog, 512}, {active, false}]),
    {ok, Port} = inet:port(L),
    Self = self(),
    Server = fun Loop() ->
        {ok, S} = gen_tcp:accept(L),
        Pid = spawn(fun() -> receive go -> echo(S) end end),
        ok = gen_tcp:controlling_process(S, Pid),
        Pid ! go,
        Loop()
    end,
    spawn(Server),
    [spawn_link(fun() ->
        {Family, Address} = case N rem 2 of
            0 -> {inet, {127,0,0,1}};
            1 -> {inet6, {0,0,0,0,0,0,0,1}}
        end,
        {ok, C} = gen_tcp:connect(Address, Port, [Family, binary, {active, false}], 60000),
        Text = integer_to_binary(N),
        ok = gen_tcp:send(C, Text),
        {ok, Text} = gen_tcp:recv(C, byte_size(Text), 60000),
        gen_tcp:close(C),
        Self ! {done, N}
     end) || N <- lists:seq(1, 300)],
    say("~p", [lists:sum([receive {done, N} -> N after 100000 -> error(N) end || N <- lists:seq(1, 300)])]).

%% Who is heard in a group (RFC 3678), by the options of the socket module.
multicast_sources() ->
    Group = {239,1,2,4},
    Lo = {127,0,0,1},
    Open = fun(Address) ->
        {ok, S} = socket:open(inet, dgram),
        ok = socket:bind(S, #{family => inet, addr => Address, port => 0}),
        S
    end,
    R = Open(any),
    {ok, #{port := Port}} = socket:sockname(R),
    Senders = [Open({127,0,0,N}) || N <- [1, 2]],
    [ok = socket:setopt(S, {ip, multicast_if}, Lo) || S <- Senders],
    Set = fun(Option, N) ->
        Value = #{multiaddr => Group, interface => Lo, sourceaddr => {127,0,0,N}},
        say("~p ~p: ~p", [Option, N, socket:setopt(R, {ip, Option}, Value)])
    end,
    Heard = fun() ->
        To = #{family => inet, addr => Group, port => Port},
        [ok = socket:sendto(S, <<"hello">>, To) || S <- Senders],
        say("heard ~p", [heard(R)])
    end,
    Heard(),
    Set(add_source_membership, 1),
    Heard(),
    Set(add_source_membership, 2),
    Set(add_source_membership, 2),
    Heard(),
    Set(drop_source_membership, 1),
    Heard(),
    Set(block_source, 1),
    Set(drop_source_membership, 2),
    Heard(),
    Join = #{multiaddr => Group, interface => Lo},
    say("~p", [socket:setopt(R, {ip, add_membership}, Join)]),
    Set(block_source, 2),
    Heard(),
    Set(unblock_source, 2),
    Heard(),
    Filter = Join#{mode => include, slist => [{127,0,0,2}, {127,0,0,3}]},
    say("~p", [socket:setopt(R, {ip, msfilter}, Filter)]),
    Heard(),
    [ok = socket:close(S) || S <- [R | Senders]].

heard(R) ->
    case socket:recvfrom(R, [], 200) of
        {ok, {#{addr := From}, <<"hello">>}} -> [From | heard(R)];
        {error, timeout} -> []
    end.

%% What agents that watch a system read.
counters() ->
    {ok, Text} = file:read_file("/proc/net/snmp"),
    Lines = [binary:split(Line, <<" ">>, [global]) || Line <- binary:split(Text, <<"\n">>, [global]), Line =/= <<>>],
    Values = pairs(Lines),
    [say("~s ~s ~p", [P, N, is_integer(value(P, N, Values))])
     || {P, N} <- [{"Ip", "InReceives"}, {"Tcp", "CurrEstab"}, {"Udp", "NoPorts"}]],
    {ok, U} = gen_udp:open(0, [{ip, {127,0,0,1}}]),
    {ok, Port} = inet:port(U),
    [ok = gen_udp:send(U, {127,0,0,1}, Port, "x") || _ <- lists:seq(1, 5)],
    {ok, After} = file:read_file("/proc/net/snmp"),
    Now = pairs([binary:split(Line, <<" ">>, [global]) || Line <- binary:split(After, <<"\n">>, [global]), Line =/= <<>>]),
    Grew = fun(P, N) -> value(P, N, Now) - value(P, N, Values) end,
    say("~p ~p", [Grew("Udp", "OutDatagrams") >= 5, Grew("Ip", "InReceives") >= 5]),
    ok = gen_udp:close(U).

pairs([[Protocol | Names], [Protocol | Numbers] | Rest]) ->
    [{{Protocol, Name}, binary_to_integer(Number)} || {Name, Number} <- lists:zip(Names, Numbers)] ++ pairs(Rest);
pairs([]) -> [].

value(Protocol, Name, Values) ->
    proplists:get_value({list_to_binary([Protocol, ":"]), list_to_binary(Name)}, Values).
