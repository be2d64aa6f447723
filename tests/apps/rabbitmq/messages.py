"""Publishes MESSAGES to a classic and to a quorum queue of the RabbitMQ at PORT, and consumes them in order."""

import sys
import time

import pika

PORT, MESSAGES = int(sys.argv[1]), int(sys.argv[2])
LIMIT = 300

parameters = pika.ConnectionParameters("127.0.0.1", PORT, heartbeat=LIMIT, blocked_connection_timeout=LIMIT)
connection = pika.BlockingConnection(parameters)
for kind in "classic", "quorum":
    channel = connection.channel()
    queue = channel.queue_declare(f"proof.{kind}", durable=True, arguments={"x-queue-type": kind}).method.queue
    persistent = pika.BasicProperties(delivery_mode=2)
    start = time.monotonic()
    for number in range(MESSAGES):
        channel.basic_publish("", queue, f"message {number}".encode(), persistent)
    published = time.monotonic()
    channel.basic_qos(prefetch_count=500)
    number = 0
    for method, _, body in channel.consume(queue, inactivity_timeout=LIMIT):
        assert method is not None, f"after {number} messages no more came"
        assert body == f"message {number}".encode(), f"{body} came instead of message {number}"
        channel.basic_ack(method.delivery_tag)
        number += 1
        if number == MESSAGES:
            break
    consumed = time.monotonic()
    print(f"{kind} queue: {MESSAGES} published in {published - start:.1f} s, consumed in {consumed - published:.1f} s more")
    channel.cancel()
    left = channel.queue_declare(queue, passive=True).method.message_count
    assert left == 0, f"{left} messages are left"
    channel.queue_delete(queue)
connection.close()
