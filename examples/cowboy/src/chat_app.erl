%% The application: the room, routes and the listener.
-module(chat_app).
-behaviour(application).

-export([start/2, stop/1]).

start(_Type, _Args) ->
    {ok, Supervisor} = chat_sup:start_link(),
    Routes = cowboy_router:compile([{'_', [{"/", chat_page, []}, {"/chat/:name", chat_socket, []}]}]),
    case cowboy:start_clear(chat, [{port, port()}], #{env => #{dispatch => Routes}}) of
        {ok, _} ->
            io:format("listening on port ~b~n", [ranch:get_port(chat)]),
            {ok, Supervisor};
        {error, Reason} ->
            {error, {listen, port(), Reason}}
    end.

stop(_State) ->
    cowboy:stop_listener(chat).

%% The environment variable PORT wins over the application's own setting.
port() ->
    case os:getenv("PORT") of
        false -> application:get_env(chat, port, 8080);
        Text -> list_to_integer(Text)
    end.
