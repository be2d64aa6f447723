%% A hook of Common Test that skips the cases named by the environment variable OTP_SUITE_SKIP.
-module(otp_suite_skip).

-export([init/2, pre_init_per_testcase/4]).

init(_Id, _Options) ->
    {ok, [list_to_atom(Case) || Case <- string:lexemes(os:getenv("OTP_SUITE_SKIP", ""), ",")]}.

pre_init_per_testcase(_Suite, Case, Config, Skipped) ->
    case lists:member(Case, Skipped) of
        true -> {{skip, "not run"}, Skipped};
        false -> {Config, Skipped}
    end.
