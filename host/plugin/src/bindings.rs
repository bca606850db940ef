//! What `bindgen!` makes of `wit/since-v0.1`: one world with everything, so that types are shared; each interface is probed alone.

wasmtime::component::bindgen!({
    inline: "package spout:host;
world all {
    include spout:plugin/source@0.1.0;
    include spout:plugin/stream-source@0.1.0;
    include spout:plugin/decoding@0.1.0;
    include spout:plugin/handling@0.1.0;
    include spout:plugin/self-driven@0.1.0;
}",
    path: "../../wit/since-v0.1",
    world: "spout:host/all",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        // The only import that waits; the others answer at once and are spared a fiber switch.
        "spout:plugin/control.pause": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "spout:plugin/data.batch": super::batch::StoredBatch,
        "spout:plugin/pfs.commit": super::denied::NoCommit,
    },
});
