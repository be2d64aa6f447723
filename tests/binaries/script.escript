#!/usr/bin/env escript
%% -*- erlang -*-
main(Words) ->
    io:format("escript ~ts on OTP ~s, ~p~n", [lists:join("+", Words), erlang:system_info(otp_release),
                                              file:native_name_encoding()]),
    halt(length(Words)).
