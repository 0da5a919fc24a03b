{
  "normproof_case": 1,
  "pass": "forward-inference",
  "dtype": "f32",
  "shape": [1,1],
  "layout": "contiguous",
  "dialect": "documented",
  "eps": "0x1.4f8b58p-17",
  "momentum": "0x1.99999ap-4",
  "x": ["-0x1.210e14p-30"],
  "gamma": ["-0x1.5824f4p-1"],
  "beta": ["-0x1.000002p-2"],
  "running_mean": ["-0x1.210e14p-30"],
  "running_var": ["0x1p-41"],
  "num_batches_tracked": 4
}
