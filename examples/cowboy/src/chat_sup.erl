%% Supervises the group of those who are in the room.
-module(chat_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    {ok, {#{}, [#{id => room, start => {pg, start_link, [chat]}}]}}.
