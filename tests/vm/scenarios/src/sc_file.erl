%% Files and folders, by all that `file`, `prim_file` and `filelib` offer.
-module(sc_file).

-export([cases/0]).
-import(sc, [say/1, say/2]).
-include_lib("kernel/include/file.hrl").

cases() ->
    [{file_read_write, fun read_write/0},
     {file_modes, fun modes/0},
     {file_positions, fun positions/0},
     {file_links_and_names, fun links_and_names/0},
     {file_info, fun info/0},
     {file_folders, fun folders/0},
     {file_errors, fun errors/0},
     {file_delayed_write, fun delayed_write/0},
     {file_prim_file, fun prim_file/0},
     {file_sendfile, fun sendfile/0},
     {file_many_at_once, fun many_at_once/0},
     {file_no_space, fun no_space/0},
     {file_proc_and_sys, fun proc_and_sys/0},
     {file_code_loading, fun code_loading/0}].

read_write() ->
    Dir = sc:temp_dir("f"),
    F = Dir ++ "/a.txt",
    ok = file:write_file(F, <<"hello">>),
    ok = file:write_file(F, <<" world">>, [append]),
    say("~p", [file:read_file(F)]),
    ok = file:write_file(Dir ++ "/s", <<"x">>, [sync, exclusive]),
    say("~p", [file:write_file(Dir ++ "/s", <<"x">>, [exclusive])]),
    {ok, H} = file:open(F, [read, write, raw, binary]),
    {ok, 3} = file:position(H, 3),
    ok = file:write(H, "ZZ"),
    say("~p", [file:pread(H, 0, 5)]),
    ok = file:pwrite(H, [{0, "a"}, {7, "b"}]),
    say("~p", [file:pread(H, [{0, 3}, {6, 3}, {100, 1}])]),
    {ok, 8} = file:position(H, 8),
    ok = file:truncate(H),
    ok = file:sync(H),
    ok = file:datasync(H),
    say("~p", [[file:advise(H, 0, 0, A) || A <- [normal, random, sequential, will_need, dont_need, no_reuse]]]),
    say("~p ~p", [file:allocate(H, 0, 8192), filelib:file_size(F)]),
    ok = file:close(H),
    {ok, Bytes} = file:read_file(F),
    say("~p ~b", [binary:part(Bytes, 0, 10), byte_size(Bytes)]),
    {ok, I} = file:open(F, [read, binary]),
    say("~p", [file:read_line(I)]),
    ok = file:close(I),
    {ok, Z} = file:open(Dir ++ "/z.gz", [write, compressed]),
    ok = file:write(Z, "zip"),
    ok = file:close(Z),
    {ok, Y} = file:open(Dir ++ "/z.gz", [read, compressed, binary]),
    say("~p", [file:read(Y, 10)]),
    ok = file:close(Y),
    Big = binary:copy(<<"0123456789abcdef">>, 65536 * 2),
    ok = file:write_file(Dir ++ "/big", Big),
    {ok, Big} = file:read_file(Dir ++ "/big"),
    say("~p", [file:copy(Dir ++ "/big", Dir ++ "/copy")]),
    {ok, Big} = file:read_file(Dir ++ "/copy"),
    ok = file:del_dir_r(Dir).

modes() ->
    Dir = sc:temp_dir("f"),
    F = Dir ++ "/a",
    say("read of nothing: ~p", [file:open(F, [read])]),
    [begin
         {ok, H} = file:open(F, Modes),
         R = {file:write(H, "abc"), file:position(H, 0), file:read(H, 10)},
         say("~p: ~p", [Modes, R]),
         file:close(H)
     end || Modes <- [[write], [read, write], [append], [read, append], [write, raw], [read, raw], [write, read, raw, binary],
                      [append, raw], [read], [write, sync], [read, {read_ahead, 4}, raw]]],
    say("~p", [file:open(F, [write, exclusive])]),
    say("~p", [element(1, file:open(Dir, [read, directory]))]),
    say("~p", [file:open(Dir, [read])]),
    say("~p", [file:open(Dir, [write])]),
    {ok, Ram} = file:open(<<"content">>, [ram, read, binary]),
    say("~p", [file:read(Ram, 3)]).

positions() ->
    F = sc:temp_dir("f") ++ "/p",
    ok = file:write_file(F, "0123456789"),
    {ok, H} = file:open(F, [read, write, raw, binary]),
    say("~p", [[file:position(H, P) || P <- [0, 5, {cur, 2}, {cur, -100}, {eof, -3}, eof, {bof, 1 bsl 33}, {bof, -1}, cur]]]),
    say("~p", [file:read(H, 1)]),
    ok = file:pwrite(H, 100000, "end"),
    say("~p ~p", [filelib:file_size(F), file:pread(H, 99998, 10)]),
    {ok, _} = file:position(H, 4),
    ok = file:truncate(H),
    say("~p", [file:read_file(F)]),
    ok = file:close(H).

links_and_names() ->
    Dir = sc:temp_dir("f"),
    ok = file:set_cwd(Dir),
    ok = file:write_file("a", "content"),
    ok = file:make_symlink("a", "ln"),
    say("~p", [file:read_link("ln")]),
    say("~p", [file:read_file("ln")]),
    ok = file:make_link("a", "hl"),
    {ok, #file_info{links = Links}} = file:read_file_info("a"),
    say("~b links", [Links]),
    ok = file:write_file("b", "other"),
    ok = file:rename("hl", "b"),
    say("~p", [file:read_file("b")]),
    say("~p", [file:rename("none", "x")]),
    ok = file:make_dir("d"),
    say("~p ~p", [file:rename("a", "d"), file:rename("d", "a")]),
    ok = file:rename("d", "e"),
    ok = file:write_file("e/in", ""),
    ok = file:make_dir("f"),
    say("~p", [file:rename("f", "e")]),
    say("~p", [file:rename("e", "e/sub")]),
    ok = file:make_symlink("loop", "loop"),
    say("~p", [file:read_file("loop")]),
    ok = file:make_symlink("/no/where", "dangling"),
    say("~p ~p", [file:read_file_info("dangling"), element(1, file:read_link_info("dangling"))]),
    Long = lists:duplicate(255, $n),
    ok = file:write_file(Long, "x"),
    say("~p", [file:write_file([$n | Long], "x")]),
    ok = file:write_file("grüße €", "x"),
    {ok, Names} = file:list_dir("."),
    say("~tp", [lists:sort(Names) -- [Long]]),
    ok = file:write_file(<<"raw", 255>>, "x"),
    {ok, Raw} = file:list_dir_all("."),
    say("~p", [[N || N <- Raw, is_binary(N)]]),
    say("~p", [file:read_file("name\0with nul")]),
    ok = file:set_cwd("/tmp"),
    ok = file:del_dir_r(Dir).

info() ->
    Dir = sc:temp_dir("f"),
    F = Dir ++ "/i",
    ok = file:write_file(F, "12345"),
    ok = file:change_mode(F, 8#640),
    ok = file:change_owner(F, 0, 0),
    ok = file:change_time(F, {{2020, 1, 2}, {3, 4, 5}}, {{2021, 1, 2}, {3, 4, 6}}),
    {ok, I} = file:read_file_info(F, [{time, universal}]),
    say("~p", [I#file_info{ctime = x, inode = x, major_device = x, minor_device = x}]),
    {ok, P} = file:read_file_info(F, [{time, posix}, raw]),
    say("~p", [{P#file_info.atime, P#file_info.mtime}]),
    ok = file:write_file_info(F, #file_info{mode = 8#4711, mtime = {{1999, 12, 31}, {23, 59, 58}}}),
    {ok, J} = file:read_file_info(F),
    say("~.8b ~p", [J#file_info.mode, J#file_info.mtime]),
    ok = file:write_file_info(F, #file_info{uid = 1000, gid = 1001}),
    {ok, K} = file:read_file_info(F),
    say("~p ~.8b", [{K#file_info.uid, K#file_info.gid}, K#file_info.mode]),
    Now = erlang:system_time(second),
    ok = file:write_file(F, "new"),
    {ok, #file_info{mtime = M, ctime = C}} = file:read_file_info(F, [{time, posix}]),
    true = abs(M - Now) =< 2 andalso abs(C - Now) =< 2,
    {ok, D} = file:read_file_info(Dir),
    say("~p ~p ~.8b", [D#file_info.type, D#file_info.access, D#file_info.mode]),
    {ok, N} = file:read_file_info("/dev/null"),
    say("~p ~p", [N#file_info.type, N#file_info.access]),
    {ok, T} = file:read_file_info("/tmp"),
    say("~p ~.8b", [T#file_info.type, T#file_info.mode]),
    ok = file:change_mode(F, 0),
    say("root reads: ~p", [file:read_file(F)]).

folders() ->
    Dir = sc:temp_dir("f"),
    ok = filelib:ensure_path(Dir ++ "/a/b/c"),
    say("~p ~p", [file:make_dir(Dir ++ "/a"), file:make_dir(Dir ++ "/x/y")]),
    say("~p ~p", [file:del_dir(Dir ++ "/a"), file:del_dir(Dir ++ "/a/b/c")]),
    [ok = file:write_file([Dir, "/a/n", integer_to_list(N), ".txt"], <<>>) || N <- lists:seq(1, 500)],
    say("~p", [length(filelib:wildcard(Dir ++ "/a/*.txt"))]),
    say("~p", [filelib:wildcard("a/n1{0,1}?.txt", Dir)]),
    say("~p", [filelib:fold_files(Dir, "7", true, fun(_, N) -> N + 1 end, 0)]),
    say("~p ~p ~p", [filelib:is_dir(Dir), filelib:is_regular(Dir ++ "/a/n1.txt"), filelib:is_file(Dir ++ "/none")]),
    {ok, Cwd} = file:get_cwd(),
    ok = file:set_cwd(Dir ++ "/a/b"),
    say("~p", [file:get_cwd()]),
    say("~p", [file:list_dir("..") =:= file:list_dir(Dir ++ "/a")]),
    say("~p", [file:set_cwd("/none")]),
    ok = file:set_cwd(Cwd),
    say("~p", [file:del_dir("/tmp/f/a/n1.txt")]),
    say("~p", [file:delete(Dir ++ "/a")]),
    ok = file:del_dir_r(Dir),
    say("~p", [file:list_dir(Dir)]).

errors() ->
    say("~p", [file:read_file("/etc/hosts/x")]),
    say("~p", [file:write_file("/proc/none", "x")]),
    say("~p", [file:write_file("/sys/none", "x")]),
    say("~p", [file:make_dir("/proc/none")]),
    say("~p", [file:delete("/proc/self")]),
    say("~p", [file:read_file("/tmp")]),
    say("~p", [file:read_file("")]),
    say("~p", [file:read_file(lists:duplicate(5000, $a))]),
    say("~p", [file:make_link("/tmp", "/tmp/link_to_dir")]),
    say("~p", [file:make_link("/proc/version", "/tmp/cross")]),
    say("~p", [file:rename("/proc/version", "/tmp/cross")]),
    say("~p", [file:list_dir("/etc/hosts")]),
    say("~p", [file:read_link("/etc/hosts")]),
    {ok, H} = file:open("/dev/null", [read, write, raw]),
    say("~p ~p", [file:write(H, "x"), file:read(H, 1)]),
    ok = file:close(H),
    say("~p", [file:write(H, "x")]),
    {ok, Z} = file:open("/dev/zero", [read, raw, binary]),
    say("~p", [file:read(Z, 4)]),
    {ok, Full} = file:open("/dev/full", [write, raw]),
    say("~p", [file:write(Full, "x")]).

delayed_write() ->
    F = sc:temp_dir("f") ++ "/dw",
    {ok, W} = file:open(F, [append, raw, {delayed_write, 1000, 60000}]),
    ok = file:write(W, "x"),
    say("~p", [filelib:file_size(F)]),
    [ok = file:write(W, "0123456789") || _ <- lists:seq(1, 100)],
    say("~p", [filelib:file_size(F)]),
    ok = file:close(W),
    say("~p", [filelib:file_size(F)]).

prim_file() ->
    F = sc:temp_dir("f") ++ "/pf",
    {ok, H} = prim_file:open(F, [read, write, binary, exclusive]),
    say("~p", [prim_file:write(H, [<<"a">>, "bc", [<<"d">> || _ <- lists:seq(1, 2000)]])]),
    say("~p", [prim_file:pread(H, 0, 4)]),
    say("~p", [prim_file:pwrite(H, [{1, "X"}, {3000, "end"}])]),
    say("~p", [prim_file:position(H, {eof, 0})]),
    {ok, Info} = prim_file:read_handle_info(H),
    say("~p", [element(2, Info)]),
    say("~p", [prim_file:sync(H)]),
    say("~p", [prim_file:allocate(H, 0, 5000)]),
    say("~p", [prim_file:close(H)]),
    say("~p", [byte_size(element(2, prim_file:read_file(F)))]).

sendfile() ->
    F = sc:temp_dir("f") ++ "/sf",
    Data = binary:copy(<<"0123456789">>, 100000),
    ok = file:write_file(F, Data),
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(L),
    Me = self(),
    spawn_link(fun() ->
        {ok, S} = gen_tcp:accept(L),
        {ok, Got} = gen_tcp:recv(S, byte_size(Data) + 500),
        Me ! {got, erlang:md5(Got)},
        ok = gen_tcp:close(S)
    end),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    say("~p", [file:sendfile(F, C)]),
    {ok, H} = file:open(F, [read, raw, binary]),
    say("~p", [file:sendfile(H, C, 100, 500, [])]),
    say("~p", [file:sendfile(H, C, 2000000, 500, [])]),
    Expected = erlang:md5([Data, binary:part(Data, 100, 500)]),
    receive {got, Expected} -> say("all came") end,
    say("~p", [gen_tcp:recv(C, 0)]).

many_at_once() ->
    Dir = sc:temp_dir("f"),
    Me = self(),
    Pids = [spawn_link(fun() ->
        F = Dir ++ "/" ++ integer_to_list(N),
        [begin
             Data = integer_to_binary(I * N),
             ok = file:write_file(F, Data),
             {ok, Data} = file:read_file(F),
             ok = file:rename(F, F ++ ".new"),
             ok = file:delete(F ++ ".new")
         end || I <- lists:seq(1, 50)],
        Me ! {done, self()}
    end) || N <- lists:seq(1, 20)],
    [receive {done, P} -> ok end || P <- Pids],
    say("~p", [file:list_dir(Dir)]).

%% A file system that is full says so, and takes files again when one is gone.
no_space() ->
    Dir = sc:temp_dir("full"),
    Chunk = binary:copy(<<"x">>, 8 bsl 20),
    fill(Dir ++ "/f", Chunk, 0),
    say("small: ~p", [fill_small(Dir, 0)]),
    say("~p", [file:make_dir(Dir ++ "/dir") =:= ok]),
    ok = file:delete(Dir ++ "/f0"),
    say("~p", [file:write_file(Dir ++ "/again", "x")]),
    {ok, <<"x">>} = file:read_file(Dir ++ "/again"),
    ok = file:del_dir_r(Dir).

fill(Name, Chunk, N) when N < 200 ->
    case file:write_file(Name ++ integer_to_list(N), Chunk) of
        ok -> fill(Name, Chunk, N + 1);
        Error -> say("~p", [Error])
    end.

fill_small(Dir, N) when N < 5000 ->
    case file:write_file(Dir ++ "/s" ++ integer_to_list(N), binary:copy(<<"x">>, 4096)) of
        ok -> fill_small(Dir, N + 1);
        Error -> Error
    end.

%% Files that tell about the system: what kind they are, and that those which everybody reads are there.
proc_and_sys() ->
    [begin
         {ok, I} = file:read_file_info(F),
         {Tag, _} = file:read_file(F),
         say("~s: ~p ~p, read: ~p", [F, I#file_info.type, I#file_info.size, Tag])
     end || F <- ["/proc/cpuinfo", "/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/stat",
                  "/proc/self/status", "/proc/self/stat", "/proc/self/statm", "/proc/self/maps", "/proc/self/cmdline",
                  "/proc/self/environ", "/proc/self/limits", "/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/cgroup",
                  "/proc/sys/kernel/hostname", "/proc/sys/kernel/ostype", "/proc/sys/vm/overcommit_memory",
                  "/proc/sys/net/core/somaxconn", "/proc/sys/fs/file-max", "/proc/sys/kernel/random/uuid",
                  "/proc/filesystems"]],
    say("~p", [filelib:is_dir("/sys/devices/system/cpu/cpu0/topology")]),
    {ok, Online} = file:read_file("/sys/devices/system/cpu/online"),
    say("online: ~s", [Online]),
    say("~p", [element(2, file:read_link("/proc/self")) =:= os:getpid()]),
    {ok, Exe} = file:read_link("/proc/self/exe"),
    say("~s", [Exe]),
    {ok, Root} = file:read_link("/proc/self/cwd"),
    say("~s", [Root]),
    {ok, Fd0} = file:read_link("/proc/self/fd/0"),
    true = is_list(Fd0).

code_loading() ->
    Dir = sc:temp_dir("code"),
    {sc_spare, Binary, _} = code:get_object_code(sc_spare),
    ok = file:write_file(Dir ++ "/sc_spare.beam", Binary),
    say("~p", [code:load_abs(Dir ++ "/sc_spare")]),
    say("~p", [code:which(sc_spare)]),
    true = code:delete(sc_spare),
    _ = code:purge(sc_spare),
    say("~p", [code:load_abs(Dir ++ "/none")]),
    true = code:add_patha(Dir),
    %% The JIT takes code again and again.
    {sc_spare, Spare, Path} = code:get_object_code(sc_spare),
    say("~s", [Path]),
    [begin
         {module, sc_spare} = code:load_binary(sc_spare, Path, Spare),
         42 = sc_spare:answer(),
         code:purge(sc_spare)
     end || _ <- lists:seq(1, 200)],
    say("loaded 200 times").
