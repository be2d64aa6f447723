"""Logs two users in at the ejabberd at XMPP_PORT (registered by its HTTP API at API_PORT) and lets them talk."""

import asyncio
import json
import ssl
import sys
import urllib.request

import slixmpp

XMPP_PORT, API_PORT = int(sys.argv[1]), int(sys.argv[2])
MESSAGES = 200
LIMIT = 180
# Its certificate is its own.
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def register(name):
    body = {"user": name, "host": "localhost", "password": "secret of " + name}
    request = urllib.request.Request(
        f"https://127.0.0.1:{API_PORT}/api/register", json.dumps(body).encode(), {"Host": "localhost"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT, context=TLS) as reply:
        print(json.load(reply))


class Client(slixmpp.ClientXMPP):
    def __init__(self, name, password=None):
        super().__init__(f"{name}@localhost/proof", password or "secret of " + name)
        self.ssl_context = TLS
        self.session = asyncio.get_running_loop().create_future()
        self.heard = asyncio.Queue()
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("failed_all_auth", lambda _: self.end(PermissionError("the login was refused")))
        self.add_event_handler("message", lambda m: self.heard.put_nowait((m["from"].bare, m["body"])))

    def end(self, error=None):
        if not self.session.done():
            self.session.set_exception(error) if error else self.session.set_result(None)

    async def on_start(self, _):
        self.send_presence()
        await self.get_roster(timeout=LIMIT)
        self.end()


async def login(name, password=None):
    client = Client(name, password)
    client.connect("127.0.0.1", XMPP_PORT)
    await asyncio.wait_for(client.session, LIMIT)
    return client


async def main():
    anna, bert = await login("anna"), await login("bert")
    print("logged in:", anna.boundjid, bert.boundjid, anna.transport.get_extra_info("cipher"))
    for number in range(MESSAGES):
        anna.send_message("bert@localhost", f"message {number}", mtype="chat")
    for number in range(MESSAGES):
        heard = await asyncio.wait_for(bert.heard.get(), LIMIT)
        assert heard == ("anna@localhost", f"message {number}"), heard
    print(f"{MESSAGES} messages came in order")
    try:
        await login("anna", "wrong")
    except PermissionError as error:
        print("with a wrong password", error)
    else:
        sys.exit("a wrong password was accepted")


register("anna")
register("bert")
asyncio.run(main())
