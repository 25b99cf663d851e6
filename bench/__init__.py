"""What Tablecast costs, each figure beside that of a naive peer measured in the same run.

`python -m bench` measures all subjects, `python -m bench fanout` one, `--quick` a sketch of each.

    fanout     CPU and time of a page that 1,000 viewers see, and the memory a viewer costs
    ingest     a file through a node into Redis, and through the cutter alone
    pages      a page turn of a large document and of a small one
    latency    a page turn from a viewer on one node to a viewer on another
    big        1 GB: memory of node and browser, time to the first page (only where it is named)

Machines differ and are noisy: runs of both sides alternate, medians are compared, ratios count.
"""
