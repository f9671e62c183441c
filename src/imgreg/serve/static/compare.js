"use strict";
const runs = JSON.parse(document.querySelector("#raw").textContent);
const of = (figure) =>
  runs.flatMap((run, colour) => [
    { name: `${run.name} validation`, values: run[`val_${figure}`], colour, dashed: false },
    { name: `${run.name} train`, values: run[`train_${figure}`], colour, dashed: true },
  ]);
drawCurves(document.querySelector("#loss"), { title: "Loss (nats)", series: of("loss") });
drawCurves(document.querySelector("#accuracy"), { title: "Accuracy", series: of("accuracy"), high: 1 });
