"""Gives `spout.network` the host's connections and secrets."""

import spout.network
from componentize_py_types import Err
from spout import errors
from wit_world.imports import network, secrets

FATAL = {network.Cause.DENIED, network.Cause.INVALID, network.Cause.TLS}


class _Host:
    def open(self, to, timeout):
        return self._call(lambda: network.Connection.open(to, network.Begin.AS_GRANTED, _ms(timeout)))

    def secure(self, connection):
        return connection.secure()

    def read(self, connection, most, timeout):
        return self._call(lambda: connection.read(most, _ms(timeout)))

    def write(self, connection, data, timeout):
        return self._call(lambda: connection.write(data, _ms(timeout)))

    def close(self, connection):
        connection.__exit__(None, None, None)

    def send_secret(self, name, connection, timeout):
        secret = self._call(lambda: secrets.Secret.named(name))
        self._call(lambda: secret.write(connection, secrets.Form_Raw(), _ms(timeout)))

    def _call(self, call):
        try:
            return call()
        except Err as error:
            failure = error.value
        if failure.cause == network.Cause.TIMED_OUT:
            raise TimeoutError(failure.message)
        kind = errors.Fatal if failure.cause in FATAL else errors.Retriable
        raise kind(failure.message, f"net.{failure.cause.name.lower().replace('_', '-')}")


def _ms(timeout):
    return max(0, min(int(timeout * 1000), (1 << 32) - 1))


spout.network._host = _Host()
