%% OTP's crypto on Debian's OpenSSL: a NIF with a large library behind it.
-module(sc_crypto).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{crypto_library, fun library/0},
     {crypto_hashes, fun hashes/0},
     {crypto_ciphers, fun ciphers/0},
     {crypto_keys, fun keys/0},
     {crypto_random, fun random/0},
     {crypto_parallel, fun parallel/0},
     {crypto_certificates, fun certificates/0}].

start() -> {ok, _} = application:ensure_all_started(crypto).

hex(Binary) -> binary:encode_hex(Binary, lowercase).

library() ->
    start(),
    [{Name, Version, Text}] = crypto:info_lib(),
    say("~s ~p ~s", [Name, Version, Text]),
    say("~p", [crypto:info_fips()]),
    [say("~p: ~p", [K, length(crypto:supports(K))]) || K <- [hashs, ciphers, public_keys, macs, curves, rsa_opts]],
    say("legacy: ~p", [lists:member(md4, crypto:supports(hashs))]).

hashes() ->
    start(),
    Data = binary:copy(<<"abc">>, 100000),
    [say("~p ~s", [H, hex(crypto:hash(H, Data))]) || H <- lists:sort(crypto:supports(hashs)), not is_xof(H)],
    State = lists:foldl(fun(_, S) -> crypto:hash_update(S, Data) end, crypto:hash_init(sha256), lists:seq(1, 50)),
    say("~s", [hex(crypto:hash_final(State))]),
    say("~s", [hex(crypto:mac(hmac, sha512, <<"key">>, Data))]),
    say("~s", [hex(crypto:mac(cmac, aes_256_cbc, <<1:256>>, Data))]),
    say("~s", [hex(crypto:mac(poly1305, <<1:256>>, Data))]),
    say("~s", [hex(crypto:pbkdf2_hmac(sha256, <<"password">>, <<"salt">>, 1000, 32))]).

is_xof(H) -> lists:member(H, [shake128, shake256]).

ciphers() ->
    start(),
    Data = <<"sixteen bytes ok", 0:(16 * 8)>>,
    [begin
         #{key_length := K, iv_length := I} = crypto:cipher_info(C),
         Key = binary:copy(<<1>>, K),
         Iv = binary:copy(<<2>>, I),
         Out = case I of
             0 -> crypto:crypto_one_time(C, Key, Data, true);
             _ -> crypto:crypto_one_time(C, Key, Iv, Data, true)
         end,
         say("~p ~s", [C, hex(Out)])
     end || C <- lists:sort(crypto:supports(ciphers)), not is_aead(C)],
    [begin
         #{key_length := K} = crypto:cipher_info(C),
         Key = binary:copy(<<1>>, K),
         {Out, Tag} = crypto:crypto_one_time_aead(C, Key, <<2:96>>, Data, <<"aad">>, true),
         Data = crypto:crypto_one_time_aead(C, Key, <<2:96>>, Out, <<"aad">>, Tag, false),
         error = crypto:crypto_one_time_aead(C, Key, <<2:96>>, Out, <<"bad">>, Tag, false),
         say("~p ~s ~s", [C, hex(Out), hex(Tag)])
     end || C <- [aes_128_gcm, aes_256_gcm, chacha20_poly1305, aes_128_ccm]].

is_aead(C) ->
    case crypto:cipher_info(C) of
        #{mode := M} -> lists:member(M, [gcm_mode, ccm_mode, xts_mode, wrap_mode, siv_mode]) orelse C =:= chacha20_poly1305
    end.

keys() ->
    start(),
    [begin
         {PubA, PrivA} = crypto:generate_key(ecdh, Curve),
         {PubB, PrivB} = crypto:generate_key(ecdh, Curve),
         true = crypto:compute_key(ecdh, PubA, PrivB, Curve) =:= crypto:compute_key(ecdh, PubB, PrivA, Curve),
         say("ecdh ~p", [Curve])
     end || Curve <- [x25519, x448, secp256r1, secp384r1, secp521r1]],
    {Pub, Priv} = crypto:generate_key(eddsa, ed25519),
    Sig = crypto:sign(eddsa, none, <<"text">>, [Priv, ed25519]),
    say("~p ~p", [crypto:verify(eddsa, none, <<"text">>, Sig, [Pub, ed25519]), crypto:verify(eddsa, none, <<"other">>, Sig, [Pub, ed25519])]),
    {RsaPub, RsaPriv} = crypto:generate_key(rsa, {2048, 65537}),
    Signature = crypto:sign(rsa, sha256, <<"text">>, RsaPriv),
    say("~p", [crypto:verify(rsa, sha256, <<"text">>, Signature, RsaPub)]),
    say("~s", [hex(element(1, crypto:generate_key(ecdh, x25519, <<9:256>>)))]).

random() ->
    start(),
    Many = [crypto:strong_rand_bytes(32) || _ <- lists:seq(1, 1000)],
    say("~p", [length(lists:usort(Many))]),
    say("~p", [byte_size(crypto:strong_rand_bytes(1 bsl 20))]),
    S = crypto:rand_seed_s(),
    {X, _} = rand:uniform_s(S),
    true = X >= 0 andalso X < 1.

%% On all schedulers and dirty schedulers at once.
parallel() ->
    start(),
    Data = binary:copy(<<"x">>, 300000),
    Expected = crypto:hash(sha512, Data),
    Pids = [spawn_monitor(fun() ->
        [Expected = crypto:hash(sha512, Data) || _ <- lists:seq(1, 20)],
        [begin
             {O, T} = crypto:crypto_one_time_aead(aes_256_gcm, <<N:256>>, <<N:96>>, Data, <<>>, true),
             Data = crypto:crypto_one_time_aead(aes_256_gcm, <<N:256>>, <<N:96>>, O, <<>>, T, false)
         end || N <- lists:seq(1, 10)]
    end) || _ <- lists:seq(1, 16)],
    [receive {'DOWN', M, _, P, Why} -> normal = Why end || {P, M} <- Pids],
    say("~b processes", [length(Pids)]).

certificates() ->
    {ok, _} = application:ensure_all_started(public_key),
    Key = {namedCurve, secp256r1},
    Chain = #{root => [{digest, sha256}, {key, Key}], intermediates => [], peer => [{digest, sha256}, {key, Key}]},
    #{server_config := Config} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    Der = proplists:get_value(cert, Config),
    {ok, _} = {ok, public_key:pkix_decode_cert(Der, otp)},
    Pem = public_key:pem_encode([{'Certificate', Der, not_encrypted}]),
    [{'Certificate', Der, not_encrypted}] = public_key:pem_decode(Pem),
    %% ASN.1's own NIF.
    say("~p", [asn1rt_nif:decode_ber_tlv(<<48, 6, 2, 1, 5, 4, 1, 65>>)]),
    say("~p", [asn1rt_nif:encode_ber_tlv({16, [{2, <<5>>}, {4, <<65>>}]})]),
    say("ok").
