%% Stores on top of files: disk_log, dets, ets tables in files, mnesia, archives.
-module(sc_store).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{store_disk_log, fun disk_log/0},
     {store_dets, fun dets/0},
     {store_ets_file, fun ets_file/0},
     {store_mnesia, fun mnesia/0},
     {store_zip, fun zip/0},
     {store_tar, fun tar/0},
     {store_logger, fun logger/0}].

disk_log() ->
    Dir = sc:temp_dir("dl"),
    {ok, dl} = disk_log:open([{name, dl}, {file, Dir ++ "/a.LOG"}]),
    [ok = disk_log:log(dl, {entry, N}) || N <- lists:seq(1, 1000)],
    ok = disk_log:sync(dl),
    {_, Terms} = disk_log:chunk(dl, start),
    say("~p", [hd(Terms)]),
    ok = disk_log:close(dl),
    {ok, dl} = disk_log:open([{name, dl}, {file, Dir ++ "/a.LOG"}]),
    say("~p", [proplists:get_value(no_items, disk_log:info(dl), none)]),
    ok = disk_log:close(dl),
    {ok, wl} = disk_log:open([{name, wl}, {file, Dir ++ "/w"}, {type, wrap}, {size, {5000, 3}}, {format, external}]),
    [ok = disk_log:blog(wl, binary:copy(<<"x">>, 500)) || _ <- lists:seq(1, 100)],
    ok = disk_log:close(wl),
    {ok, Names} = file:list_dir(Dir),
    say("~p", [lists:sort(Names)]),
    %% A log that was not closed is repaired.
    {ok, Bytes} = file:read_file(Dir ++ "/a.LOG"),
    ok = file:write_file(Dir ++ "/b.LOG", binary:part(Bytes, 0, byte_size(Bytes) - 3)),
    say("~p", [element(1, disk_log:open([{name, bl}, {file, Dir ++ "/b.LOG"}, {repair, true}]))]),
    ok = disk_log:close(bl).

dets() ->
    Dir = sc:temp_dir("dets"),
    File = [{file, Dir ++ "/t.dets"}],
    {ok, T} = dets:open_file(t, File),
    [ok = dets:insert(T, {I, I * I}) || I <- lists:seq(1, 2000)],
    ok = dets:delete(T, 7),
    ok = dets:sync(T),
    say("~p ~p", [dets:lookup(T, 5), dets:lookup(T, 7)]),
    ok = dets:close(T),
    {ok, T} = dets:open_file(t, File),
    say("~p", [dets:info(T, size)]),
    say("~p", [lists:sum(dets:select(T, [{{'$1', '_'}, [], ['$1']}]))]),
    ok = dets:close(T),
    say("~p", [dets:is_dets_file(Dir ++ "/t.dets")]).

ets_file() ->
    Dir = sc:temp_dir("ets"),
    T = ets:new(e, [public, ordered_set]),
    ets:insert(T, [{N, <<N:64>>} || N <- lists:seq(1, 5000)]),
    ok = ets:tab2file(T, Dir ++ "/e.ets", [{sync, true}, {extended_info, [md5sum, object_count]}]),
    true = ets:delete(T),
    {ok, U} = ets:file2tab(Dir ++ "/e.ets", [{verify, true}]),
    say("~p ~p", [ets:info(U, size), ets:lookup(U, 4711)]).

mnesia() ->
    Dir = sc:temp_dir("mnesia"),
    application:set_env(mnesia, dir, Dir),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(t, [{disc_copies, [node()]}, {attributes, [k, v]}]),
    {atomic, ok} = mnesia:create_table(u, [{disc_only_copies, [node()]}, {attributes, [k, v]}]),
    [{atomic, ok} = mnesia:transaction(fun() -> mnesia:write({t, I, I}), mnesia:write({u, I, I}) end) || I <- lists:seq(1, 100)],
    dumped = mnesia:dump_log(),
    stopped = mnesia:stop(),
    ok = mnesia:start(),
    ok = mnesia:wait_for_tables([t, u], 30000),
    say("~p", [mnesia:transaction(fun() -> {mnesia:read(t, 7), mnesia:read(u, 8)} end)]),
    say("~p", [[mnesia:table_info(T, size) || T <- [t, u]]]),
    ok = mnesia:backup(Dir ++ "/backup"),
    stopped = mnesia:stop(),
    {ok, Names} = file:list_dir(Dir),
    say("~p", [lists:sort(Names)]).

zip() ->
    Dir = sc:temp_dir("zip"),
    ok = filelib:ensure_path(Dir ++ "/in/sub"),
    [ok = file:write_file(Dir ++ "/in/sub/" ++ integer_to_list(N), binary:copy(<<N>>, N * 100)) || N <- lists:seq(1, 50)],
    {ok, _} = zip:create(Dir ++ "/a.zip", ["in"], [{cwd, Dir}]),
    {ok, Files} = zip:unzip(Dir ++ "/a.zip", [{cwd, Dir ++ "/out"}]),
    say("~p", [length(Files)]),
    true = file:read_file(Dir ++ "/in/sub/33") =:= file:read_file(Dir ++ "/out/in/sub/33").

tar() ->
    Dir = sc:temp_dir("tar"),
    ok = file:write_file(Dir ++ "/a", "aaa"),
    ok = file:make_symlink("a", Dir ++ "/link"),
    ok = file:change_mode(Dir ++ "/a", 8#750),
    ok = erl_tar:create(Dir ++ "/t.tar.gz", [{"x/a", Dir ++ "/a"}, {"x/link", Dir ++ "/link"}, {"x/bin", <<"binary">>}], [compressed]),
    say("~p", [erl_tar:table(Dir ++ "/t.tar.gz", [compressed])]),
    ok = erl_tar:extract(Dir ++ "/t.tar.gz", [compressed, {cwd, Dir ++ "/out"}]),
    say("~p ~p", [file:read_file(Dir ++ "/out/x/a"), file:read_link(Dir ++ "/out/x/link")]),
    say("~s", [os:cmd("cd " ++ Dir ++ "/out/x && ls -l | cut -c 1-10")]).

%% The logger's file handler, with rotation. By default a handler drops what exceeds 500 events in
%% a second or 200 in its queue, and then the number of files would tell how fast the machine is.
logger() ->
    Dir = sc:temp_dir("log"),
    File = Dir ++ "/app.log",
    Whole = #{burst_limit_enable => false, drop_mode_qlen => 1000, flush_qlen => 1000},
    Config = Whole#{file => File, max_no_bytes => 15000, max_no_files => 3},
    Formatter = {logger_formatter, #{template => [msg, "\n"], single_line => true}},
    ok = logger:add_handler(sc, logger_std_h, #{config => Config, level => all, formatter => Formatter}),
    Level = logger:get_primary_config(),
    ok = logger:update_handler_config(default, level, none),
    ok = logger:set_primary_config(level, notice),
    [logger:notice("line ~b ~s", [N, lists:duplicate(80, $x)]) || N <- lists:seq(1, 600)],
    ok = logger_std_h:filesync(sc),
    ok = logger:remove_handler(sc),
    ok = logger:set_primary_config(Level),
    {ok, Names} = file:list_dir(Dir),
    Lines = [binary:matches(Bytes, <<"\n">>) || Name <- Names, {ok, Bytes} <- [file:read_file(Dir ++ "/" ++ Name)]],
    say("~p ~b", [lists:sort(Names), length(lists:append(Lines))]).
