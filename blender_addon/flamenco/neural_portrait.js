// SPDX-License-Identifier: GPL-3.0-or-later
// Flamenco job type: frames of a portrait in two phases. docs/batch.md says how to install it.
//
// First the network draws what the portrait's card shows ("card"): for that a worker needs our engine. Then Blender
// renders the scene with these pictures, or the head alone ("scene", "mesh"): for that any worker will do. Both are
// batch.py with --resume, so a task that is tried again keeps the frames that are there.

const JOB_TYPE = {
    label: "Neural Portrait",
    description: "Pictures by the network, then frames by Blender",
    settings: [
        {
            key: "frames", type: "string", required: true,
            eval: "f'{C.scene.frame_start}-{C.scene.frame_end}'",
            description: "Frames, such as 1-120 or 1,5,10-20",
        },
        {
            key: "chunk_size", type: "int32", default: 20,
            description: "Frames of a task. The engine starts once a task, which takes some seconds",
            visible: "submission",
        },
        {
            key: "render_output_path", type: "string", subtype: "file_path", required: true,
            eval: "str(Path(abspath('//')) / 'render' / (C.scene.name + '_####.png'))",
            description: "Where the frames go, on storage that all workers share; #### is the frame",
        },
        {
            key: "what", type: "string", required: true, default: "scene", choices: ["scene", "mesh", "plane", "card"],
            description: "scene: all, by Blender. mesh: the head alone. plane: the network's frames. card: only bake",
        },
        {
            key: "engine", type: "string", required: true, default: "CYCLES",
            choices: ["CYCLES", "EEVEE", "WORKBENCH"], description: "What Blender renders with",
        },
        { key: "samples", type: "int32", default: 64, description: "Samples of a pixel" },
        {
            key: "job_file", type: "string", subtype: "file_path", required: true,
            eval: "str(Path(bpy.data.filepath).with_suffix('.toml'))",
            description: "The file that Write Batch Job made",
        },
        {
            key: "batch_script", type: "string", subtype: "file_path", required: true,
            description: "batch.py of the add-on, at a path that all workers have",
        },
        {
            key: "blendfile", type: "string", required: true, visible: "web",
            description: "The .blend, set by the Flamenco add-on",
        },
    ],
};

// The network draws these; the others are Blender's work.
const BY_NETWORK = ["plane", "card"];

function compileJob(job) {
    const settings = job.settings;
    if (settings.chunk_size < 1) {
        throw new Error("chunk_size is " + settings.chunk_size + ", a task needs at least one frame");
    }
    for (const frames of frameChunker(settings.frames, settings.chunk_size)) {
        if (BY_NETWORK.includes(settings.what)) {
            job.addTask(makeTask(settings.what, frames, settings));
            continue;
        }
        const draw = makeTask(settings.what, frames, settings);
        if (settings.what === "scene") {  // it shows cards, which must have their pictures
            const bake = makeTask("card", frames, settings);
            job.addTask(bake);
            draw.addDependency(bake);
        }
        job.addTask(draw);
    }
}

function makeTask(what, frames, settings) {
    // Commands of type "exec" leave exit codes and what stands behind "--" to us; batch.py ends with 0 only when all is done.
    const task = author.Task(what + "-" + frames, BY_NETWORK.includes(what) ? "misc" : "blender");
    const args = [
        "-b", settings.blendfile, "--python-exit-code", "7", "-P", settings.batch_script, "--",
        settings.job_file,
        "--resume",
        "--frames", frames,
        "--summary", settings.render_output_path + "." + what + "." + frames + ".json",
        "--set", "render.what=" + JSON.stringify([what]),
        "--set", "render.out=" + JSON.stringify(settings.render_output_path),
        "--set", "render.engine=" + JSON.stringify(settings.engine),
        "--set", "render.samples=" + settings.samples,
    ];
    task.addCommand(author.Command("exec", { exe: "{blender}", args: args }));
    return task;
}
