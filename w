Running 5s test @ http://10.0.9.15:8080/
  1 threads and 100 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    26.60ms   13.88ms 126.97ms   64.19%
    Req/Sec     3.80k   407.13     4.19k    96.00%
  18920 requests in 5.01s, 2.42MB read
Requests/sec:   3776.73
Transfer/sec:    494.22KB
