%% Accepts connections, one after the other, and gives each to a process of its own.
-module(erlang_http_acceptor).

-export([start_link/1, init/1]).

start_link(Socket) ->
    {ok, proc_lib:spawn_link(?MODULE, init, [Socket])}.

init(Socket) ->
    case gen_tcp:accept(Socket) of
        {ok, Connection} ->
            Pid = erlang_http_connection:start(),
            case gen_tcp:controlling_process(Connection, Pid) of
                ok -> erlang_http_connection:serve(Pid, Connection);
                {error, _} -> gen_tcp:close(Connection), exit(Pid, kill)
            end,
            init(Socket);
        {error, closed} ->
            ok;
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= econnaborted ->
            %% Descriptors become free when connections end; the backlog keeps the new ones until then.
            timer:sleep(10),
            init(Socket);
        {error, Reason} ->
            exit({accept, Reason})
    end.
