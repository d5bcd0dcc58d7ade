"""The pipeline: parameters that are checked, notebooks that papermill executes, grids that Snakemake schedules."""
