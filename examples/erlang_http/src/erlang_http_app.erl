%% The application: opens the listening socket and starts the supervisor.
-module(erlang_http_app).
-behaviour(application).

-export([start/2, stop/1]).

start(_Type, _Args) ->
    Port = port(),
    case gen_tcp:listen(Port, [binary, {packet, http_bin}, {active, false}, {reuseaddr, true},
                               {nodelay, true}, {backlog, 1024}]) of
        {ok, Socket} ->
            {ok, Bound} = inet:port(Socket),
            case erlang_http_sup:start_link(Socket) of
                {ok, Pid} ->
                    io:format("listening on port ~b~n", [Bound]),
                    {ok, Pid, Socket};
                Error ->
                    Error
            end;
        {error, Reason} ->
            {error, {listen, Port, inet:format_error(Reason)}}
    end.

stop(Socket) ->
    gen_tcp:close(Socket).

%% The environment variable PORT wins over the application's own setting.
port() ->
    case os:getenv("PORT") of
        false -> application:get_env(erlang_http, port, 8080);
        Text -> list_to_integer(Text)
    end.
