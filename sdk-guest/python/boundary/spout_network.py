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

    def secret(self, name):
        return _Secret(self._call(lambda: secrets.Secret.named(name)), self._call)

    def send_secret(self, secret, connection, form, timeout):
        self._call(lambda: secret.own.write(connection, _form(form), _ms(timeout)))

    def _call(self, call):
        try:
            return call()
        except Err as error:
            failure = error.value
        if failure.cause == network.Cause.TIMED_OUT:
            raise TimeoutError(failure.message)
        kind = errors.Fatal if failure.cause in FATAL else errors.Retriable
        raise kind(failure.message, f"net.{failure.cause.name.lower().replace('_', '-')}")


class _Secret:
    """A secret of the host."""

    def __init__(self, own, call):
        self.own, self._call = own, call

    def length(self, form):
        return self.own.length(_form(form))

    def hmac(self, hash, data):
        return self.own.hmac(_hash(hash), data)

    def scram(self, hash, salt, iterations, message):
        made = self._call(lambda: self.own.scram(_hash(hash), salt, iterations, message))
        return made.proof, made.server_signature

    def sign_v4(self, date, region, service, text):
        return self.own.sign_v4(date, region, service, text)

    def reveal(self):
        return self._call(self.own.reveal)


def _form(form):
    if isinstance(form, bytes):
        return secrets.Form_Base64(form)
    return secrets.Form_Json() if form == "json" else secrets.Form_Raw()


def _hash(hash):
    return secrets.Hash.SHA512 if hash == "sha512" else secrets.Hash.SHA256


def _ms(timeout):
    return max(0, min(int(timeout * 1000), (1 << 32) - 1))


spout.network._host = _Host()
