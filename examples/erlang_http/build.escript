#!/usr/bin/env escript
%%! -boot no_dot_erlang
%% Builds the example as an ordinary OTP release: `escript build.escript OUT_DIR [SOURCE_DIR]`.
%% SOURCE_DIR is another application laid out like the example: src/NAME.app.src, src/*.erl, config/{sys.config,vm.args};
%% config/loaded.config may list applications that are part of the release but not started with it.
%%
%% OUT_DIR/erts-VSN/bin        the run-time system's programs, copied as they are
%% OUT_DIR/lib/APP-VSN         the applications, their modules stripped as `mix release` strips them
%% OUT_DIR/releases            start_erl.data and VSN/{start.boot, start.script, NAME.rel, sys.config, vm.args}
-mode(compile).

-define(PROGRAMS, ["beam.smp", "epmd", "erl_child_setup", "inet_gethost"]).

main([Out]) ->
    main([Out, filename:dirname(filename:absname(escript:script_name()))]);
main([Out, Here]) ->
    ok = delete(Out),
    try
        App = compile_app(Here, Out),
        release(Here, Out, App)
    catch
        throw:{failed, What} ->
            io:format(standard_error, "~ts~n", [What]),
            halt(1)
    end;
main(_) ->
    io:format(standard_error, "usage: escript build.escript OUT_DIR [SOURCE_DIR]~n", []),
    halt(2).

%% Compiles the application into OUT_DIR/lib and returns {Name, Version, what it needs}.
compile_app(Here, Out) ->
    [Source] = filelib:wildcard(filename:join([Here, "src", "*.app.src"])),
    {ok, [{application, Name, Keys} = App]} = file:consult(Source),
    Version = proplists:get_value(vsn, Keys),
    Ebin = filename:join([Out, "lib", atom_to_list(Name) ++ "-" ++ Version, "ebin"]),
    ok = filelib:ensure_path(Ebin),
    Modules = [compile_module(File, Ebin) || File <- filelib:wildcard(filename:join([Here, "src", "*.erl"]))],
    AppFile = setelement(3, App, lists:keystore(modules, 1, Keys, {modules, Modules})),
    ok = file:write_file(filename:join(Ebin, atom_to_list(Name) ++ ".app"), io_lib:format("~p.~n", [AppFile])),
    true = code:add_patha(Ebin),
    {Name, Version, proplists:get_value(applications, Keys)}.

compile_module(File, Ebin) ->
    case compile:file(File, [deterministic, warnings_as_errors, report, {outdir, Ebin}]) of
        {ok, Module} -> Module;
        _ -> throw({failed, File ++ " can't be compiled"})
    end.

release(Here, Out, {Name, Version, Needs}) ->
    Dir = filename:join([Out, "releases", Version]),
    ok = filelib:ensure_path(Dir),
    Started = needed(Needs, []),
    Loaded = needed(loaded(Here), Started) -- Started,
    Apps = [{App, version(App)} || App <- Started] ++ [{Name, Version}] ++ [{App, version(App), load} || App <- Loaded],
    Erts = erlang:system_info(version),
    Rel = {release, {atom_to_list(Name), Version}, {erts, Erts}, Apps},
    RelFile = filename:join(Dir, Name),
    ok = file:write_file(RelFile ++ ".rel", io_lib:format("~p.~n", [Rel])),
    case systools:make_script(RelFile, [{outdir, Dir}, {script_name, "start"}, silent]) of
        {ok, _, _} -> ok;
        {error, Module, Error} -> throw({failed, Module:format_error(Error)})
    end,
    [copy_app(element(1, App), element(2, App), Out) || App <- Apps],
    [strip(File) || File <- filelib:wildcard(filename:join([Out, "lib", "*", "ebin", "*.beam"]))],
    copy_erts(Erts, Out),
    [{ok, _} = file:copy(filename:join([Here, "config", F]), filename:join(Dir, F)) || F <- ["sys.config", "vm.args"]],
    ok = file:write_file(filename:join([Out, "releases", "start_erl.data"]), [Erts, " ", Version, "\n"]).

loaded(Here) ->
    case file:consult(filename:join([Here, "config", "loaded.config"])) of
        {ok, [Loaded]} -> Loaded;
        {error, enoent} -> []
    end.

%% Returns these applications and all that they need, each once.
needed([], Known) ->
    lists:reverse(Known);
needed([App | Apps], Known) ->
    case lists:member(App, Known) of
        true ->
            needed(Apps, Known);
        false ->
            load(App),
            {ok, Needs} = application:get_key(App, applications),
            needed(Apps ++ Needs, [App | Known])
    end.

version(App) ->
    load(App),
    {ok, Version} = application:get_key(App, vsn),
    Version.

load(App) ->
    ok = case application:load(App) of {error, {already_loaded, App}} -> ok; Other -> Other end.

%% Copies what an application needs at run time: ebin and priv.
copy_app(App, Version, Out) ->
    From = code:lib_dir(App),
    To = filename:join([Out, "lib", atom_to_list(App) ++ "-" ++ Version]),
    [copy(filename:join(From, Dir), filename:join(To, Dir)) || Dir <- ["ebin", "priv"], From =/= To].

copy_erts(Version, Out) ->
    From = filename:join([code:root_dir(), "erts-" ++ Version, "bin"]),
    To = filename:join([Out, "erts-" ++ Version, "bin"]),
    [copy(filename:join(From, Program), filename:join(To, Program)) || Program <- ?PROGRAMS].

copy(From, To) ->
    case file:list_dir(From) of
        {ok, Names} ->
            [copy(filename:join(From, Name), filename:join(To, Name)) || Name <- Names];
        {error, enotdir} ->
            ok = filelib:ensure_dir(To),
            {ok, _} = file:copy(From, To),
            {ok, Info} = file:read_file_info(From),
            ok = file:write_file_info(To, Info);
        {error, enoent} ->
            ok
    end.

%% Keeps the chunks that are needed to run. Not compressed: the files are mapped, and unpacking takes time at every start.
strip(File) ->
    {ok, Beam} = file:read_file(File),
    {ok, {_, Stripped}} = beam_lib:strip(Beam),
    ok = file:write_file(File, gunzip(Stripped)).

gunzip(<<31, 139, _/binary>> = Compressed) -> zlib:gunzip(Compressed);
gunzip(Plain) -> Plain.

delete(Dir) ->
    case file:del_dir_r(Dir) of
        {error, enoent} -> ok;
        Result -> Result
    end.
