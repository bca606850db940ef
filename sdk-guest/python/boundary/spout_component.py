"""The component: what it offers. Its resources live in modules named after their interfaces, as componentize-py wants."""

import wit_world
from spout_boundary import OFFERS
from wit_world.exports import about


class About(wit_world.exports.About):
    def describe(self):
        return [about.Offer(interface, offer, summary, schema) for interface, _, offer, summary, schema in OFFERS]


if hasattr(wit_world.exports, "Spout"):
    from spout_driven import run as run_spout

    class Spout(wit_world.exports.Spout):
        def run(self, name, settings):
            run_spout(name, settings)


if hasattr(wit_world.exports, "Transformer"):
    from spout_transformer import transform

    class Transformer(wit_world.exports.Transformer):
        def transform(self, name, file, output, settings):
            transform(name, file, output, settings)
