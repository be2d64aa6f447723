%% GET /: the page, and how many are in the room.
-module(chat_page).

-export([init/2]).

init(Request, State) ->
    {ok, cowboy_req:reply(200, #{<<"content-type">> => <<"text/html; charset=utf-8">>}, page(), Request), State}.

page() ->
    Present = integer_to_binary(length(pg:get_members(chat, room))),
    [<<"<!doctype html>\n<title>Chat</title>\n"
       "<h1>A chat room in Erlang/OTP ">>, erlang:system_info(otp_release), <<"</h1>\n"
       "<p>Present: ">>, Present, <<"</p>\n"
       "<form><input autofocus placeholder='Say something'></form>\n<pre></pre>\n"
       "<script>\n"
       "  const name = prompt('Your name?') || 'nobody'\n"
       "  const socket = new WebSocket(`ws://${location.host}/chat/${encodeURIComponent(name)}`)\n"
       "  const input = document.querySelector('input')\n"
       "  socket.onmessage = ({data}) => document.querySelector('pre').append(data + '\\n')\n"
       "  document.querySelector('form').onsubmit = event => {\n"
       "    event.preventDefault(); socket.send(input.value); input.value = ''\n"
       "  }\n"
       "</script>\n">>].
