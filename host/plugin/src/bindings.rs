//! What `bindgen!` makes of `wit/since-v0.1`: one world with everything, so that types are shared; each interface is probed alone.

wasmtime::component::bindgen!({
    inline: "package spout:host;
world all {
    include spout:plugin/source@0.1.0;
    include spout:plugin/stream-source@0.1.0;
    include spout:plugin/decoding@0.1.0;
    include spout:plugin/handling@0.1.0;
    include spout:plugin/self-driven@0.1.0;
    include spout:plugin/transforming@0.1.0;
}",
    path: "../../wit/since-v0.1",
    world: "spout:host/all",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        // The imports that wait; the others answer at once and are spared a fiber switch.
        "spout:plugin/control.pause": async | trappable,
        "spout:plugin/pfs.list": async | trappable,
        "spout:plugin/pfs.inspect": async | trappable,
        "spout:plugin/pfs.read": async | trappable,
        "spout:plugin/datum.[method]input.read": async | trappable,
        "spout:plugin/pfs.[method]commit.put-file": async | trappable,
        "spout:plugin/pfs.[method]commit.put-batch": async | trappable,
        "spout:plugin/pfs.[method]commit.delete-file": async | trappable,
        "spout:plugin/pfs.[static]commit.finish": async | trappable,
        "spout:plugin/pfs.[method]writer.write": async | trappable,
        "spout:plugin/pfs.[static]writer.close": async | trappable,
        "spout:plugin/network.wait": async | trappable,
        "spout:plugin/network.[static]connection.open": async | trappable,
        "spout:plugin/network.[method]connection.start-tls": async | trappable,
        "spout:plugin/network.[method]connection.read": async | trappable,
        "spout:plugin/network.[method]connection.write": async | trappable,
        "spout:plugin/network.[method]connection.finish": async | trappable,
        "spout:plugin/secrets.[method]secret.write": async | trappable,
        "spout:plugin/secrets.[method]secret.scram": async | trappable,
        "spout:plugin/kernels.[method]column.compare": async | trappable,
        "spout:plugin/kernels.[method]column.compare-column": async | trappable,
        "spout:plugin/kernels.[method]column.is-null": async | trappable,
        "spout:plugin/kernels.[method]column.both": async | trappable,
        "spout:plugin/kernels.[method]column.either": async | trappable,
        "spout:plugin/kernels.[method]column.negate": async | trappable,
        "spout:plugin/kernels.[method]column.matches": async | trappable,
        "spout:plugin/kernels.[method]column.replace": async | trappable,
        "spout:plugin/kernels.[method]column.mask": async | trappable,
        "spout:plugin/kernels.[method]column.hash": async | trappable,
        "spout:plugin/kernels.[method]column.cast": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "spout:plugin/data.batch": super::batch::StoredBatch,
        "spout:plugin/kernels.column": super::kernels::Column,
        "spout:plugin/datum.input": super::pfs::datum::Lent,
        "spout:plugin/pfs.commit": super::pfs::imports::Begun,
        "spout:plugin/pfs.writer": super::pfs::imports::Writing,
        "spout:plugin/network.connection": super::net::connection::Dialled,
        "spout:plugin/secrets.secret": super::secrets::imports::Handle,
    },
});
