// SPDX-License-Identifier: GPL-3.0-or-later
// Stands in for Flamenco Manager: runs a job type on settings and prints the tasks.  node flamenco_harness.js TYPE.js SETTINGS
const fs = require("fs");
const vm = require("vm");

class Task {
    constructor(name, type) { Object.assign(this, { name, type, commands: [], dependencies: [] }); }
    addCommand(command) { this.commands.push(command); }
    addDependency(task) { this.dependencies.push(task.name); }
}

function frameChunker(frames, size) {  // "1-4,7" by threes: "1-3", "4,7"
    const numbers = frames.split(",").flatMap((part) => {
        const [first, last] = part.split("-").map(Number);
        return Array.from({ length: (last || first) - first + 1 }, (_, step) => first + step);
    });
    const chunks = [];
    for (let at = 0; at < numbers.length; at += size) {
        const part = numbers.slice(at, at + size);
        const whole = part.length > 1 && part[part.length - 1] - part[0] === part.length - 1;
        chunks.push(whole ? part[0] + "-" + part[part.length - 1] : part.join(","));
    }
    return chunks;
}

const tasks = [];
const world = {
    author: { Task: (name, type) => new Task(name, type), Command: (name, parameters) => ({ name, parameters }) },
    frameChunker,
};
vm.createContext(world);
vm.runInContext(fs.readFileSync(process.argv[2], "utf8"), world);
const type = vm.runInContext("JOB_TYPE", world);
const settings = Object.fromEntries(type.settings.filter((one) => "default" in one).map((one) => [one.key, one.default]));
Object.assign(settings, JSON.parse(process.argv[3]));
world.compileJob({ settings, addTask: (task) => tasks.push(task) });
console.log(JSON.stringify({ type, tasks }));
