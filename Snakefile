# What depends on what. `make book` and `make sweep` start it, with a plan that says what is still to do;
# `snakemake --cores 2 pages` and
# `snakemake --jobs 50 sweep --config experiment=triplet` work too. Run and page ids are hashes of content, so a rule lists only what is pending.
import os
import shlex
import sys

from reidlib.workflow import plan as plans
from reidlib.workflow import project, steps

if "plan" not in config:
    one = str(config["experiment"]).split(",") if "experiment" in config else None
    os.environ["REIDLIB_SECTION"] = str(config.get("section", "full" if one else project.section()))
    todo = plans.make(project.section(), one, pages=one is None)
    config["plan"] = str(plans.save(todo, project.build() / "plan.json"))
PLAN = config["plan"]
TODO = plans.load(PLAN)
RUNS = {run["id"]: run for run in plans.pending(TODO, "runs")}
PAGES = {page["name"]: page for page in plans.pending(TODO, "pages")}
STEP = f"exec {shlex.quote(sys.executable)} -m reidlib.workflow.cli execute"
WARM, RUN, PAGE = project.build() / "warm", project.build() / "executed" / "runs", project.pages() / "executed"
LOGS = project.logs()

wildcard_constraints:
    id="|".join(RUNS) or "none",
    name="|".join(PAGES) or "none",

localrules: numbers, book

rule pages:
    input: expand(str(PAGE / "{name}.ipynb"), name=PAGES), expand(str(RUN / "{id}.ipynb"), id=RUNS)

rule sweep:
    input: expand(str(RUN / "{id}.ipynb"), id=RUNS)

rule warm:
    output: str(WARM / "{trunk}.safetensors")
    log: str(LOGS / "{trunk}.log")
    shell: "{STEP} warm {output:q} --plan {PLAN:q} >{log:q} 2>&1"

rule run:
    input: lambda wildcards: ancient(RUNS[wildcards.id]["warm"] or [])
    output: str(RUN / "{id}.ipynb")
    log: str(LOGS / "{id}.log")
    threads: 1
    shell: "{STEP} run {wildcards.id} --plan {PLAN:q} --log {log:q} >{log:q} 2>&1"

rule page:
    input:
        runs=lambda wildcards: expand(str(RUN / "{id}.ipynb"), id=[i for i in PAGES[wildcards.name]["runs"] if i in RUNS]),
        warm=lambda wildcards: ancient(PAGES[wildcards.name]["warm"] or []),
    output: str(PAGE / "{name}.ipynb")
    params: key=lambda wildcards: PAGES[wildcards.name]["key"]
    log: str(LOGS / "{name}.log")
    threads: 1
    priority: 1
    shell: "{STEP} page {wildcards.name} --plan {PLAN:q} --log {log:q} >{log:q} 2>&1"

# Both read what is there, so that a chapter that failed does not keep the others from the book.
rule numbers:
    output: touch(str(project.pages() / "numbers.done"))
    params: key=lambda wildcards: steps.book_key()
    log: str(LOGS / "numbers.log")
    shell: "{STEP} numbers --plan {PLAN:q} >{log:q} 2>&1"

rule book:
    input: rules.numbers.output
    output: touch(str(project.pages() / "book.done"))
    log: str(LOGS / "book-step.log")
    shell: "{STEP} book --plan {PLAN:q} >{log:q} 2>&1"
