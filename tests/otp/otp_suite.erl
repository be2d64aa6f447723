%% Runs one of OTP's suites under Common Test and says on standard output how each case ended:
%%   @start CASE WHEN
%%   @case CASE ok|skipped|failed REASON
%% It is the runner and the event handler.
-module(otp_suite).
-behaviour(gen_event).

-export([main/0]).
-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2]).

%% Arguments: AREA SUITE SCALE [CASE | @GROUP]...
main() ->
    [Area, Suite, Scale | Cases] = init:get_plain_arguments(),
    Module = list_to_atom(Suite ++ "_SUITE"),
    Options = [{dir, "/otp/" ++ Area ++ "_test"},
               {suite, Module},
               {logdir, "/tmp/ct"},
               {multiply_timetraps, list_to_integer(Scale)},
               {scale_timetraps, true},
               {auto_compile, false},
               {abort_if_missing_suites, true},
               {event_handler, [?MODULE]},
               {ct_hooks, [otp_suite_skip]}
               | what(Cases)],
    Result = try ct:run_test(Options) catch Class:Reason -> {Class, Reason} end,
    say("result ~0p", [Result]),
    erlang:halt(0).

what([]) ->
    [];
what(Cases) ->
    Groups = [list_to_atom(Group) || [$@ | Group] <- Cases],
    Named = [list_to_atom(Case) || [First | _] = Case <- Cases, First =/= $@],
    [{group, Groups} || Groups =/= []] ++ [{testcase, Named} || Named =/= []].

init(_Arguments) ->
    {ok, []}.

handle_event(Event, State) ->
    event(element(2, Event), element(4, Event)),
    {ok, State}.

handle_call(_Request, State) ->
    {ok, ok, State}.

handle_info(_Message, State) ->
    {ok, State}.

terminate(_Reason, _State) ->
    ok.

event(tc_start, {_Suite, Case}) ->
    {Elapsed, _} = statistics(wall_clock),
    say("start ~ts ~b ms", [name(Case), Elapsed]);
event(tc_done, {_Suite, Case, Result}) ->
    ended(Case, Result);
event(tc_user_skip, {_Suite, Case, Reason}) ->
    ended(Case, {skipped, Reason});
event(tc_auto_skip, {_Suite, Case, Reason}) ->
    ended(Case, {skipped, Reason});
event(_Name, _Data) ->
    ok.

ended(Case, ok) ->
    say("case ~ts ok", [name(Case)]);
ended(Case, {Outcome, Reason}) ->
    say("case ~ts ~ts ~ts", [name(Case), Outcome, reason(Reason)]);
ended(Case, Other) ->
    say("case ~ts failed ~ts", [name(Case), reason(Other)]).

%% Setting up and tearing down have names of their own; a case has the same name in every group.
name({init_per_group, Group, _Properties}) -> ["init_per_group(", atom_to_list(Group), ")"];
name({end_per_group, Group, _Properties}) -> ["end_per_group(", atom_to_list(Group), ")"];
name({Case, _Group}) -> atom_to_list(Case);
name(Case) -> atom_to_list(Case).

reason(Reason) ->
    Text = lists:flatten(io_lib:format("~0tp", [Reason])),
    lists:sublist([case C < 32 of true -> $\s; false -> C end || C <- Text], 600).

%% Other output may have ended within a line.
say(Format, Arguments) ->
    io:format(user, "~n@" ++ Format ++ "~n", Arguments).
