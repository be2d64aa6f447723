%% One who is in the room, over a WebSocket: what one says, all hear. Binary messages come back to who sent them.
-module(chat_socket).
-behaviour(cowboy_websocket).

-export([init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).

init(Request, _) ->
    {cowboy_websocket, Request, cowboy_req:binding(name, Request), #{compress => true, max_frame_size => 1_000_000}}.

websocket_init(Name) ->
    ok = pg:join(chat, room, self()),
    tell([Name, <<" is here">>]),
    {[], Name}.

websocket_handle({text, Text}, Name) ->
    tell([Name, <<": ">>, Text]),
    {[], Name};
websocket_handle({binary, Data}, Name) ->
    {[{binary, Data}], Name};
websocket_handle(_, Name) ->
    {[], Name}.

websocket_info({said, Text}, Name) ->
    {[{text, Text}], Name}.

tell(Text) ->
    [Member ! {said, iolist_to_binary(Text)} || Member <- pg:get_members(chat, room)].
