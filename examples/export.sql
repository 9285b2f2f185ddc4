-- The median over seeds of the steps to a cost of 0.5, by optimizer. First: talweg export STUDY study.parquet
SELECT optimizer, median(steps) AS steps, count(*) AS seeds
FROM (SELECT optimizer, run, min(step) AS steps FROM 'study.parquet' WHERE cost < 0.5 GROUP BY optimizer, run)
GROUP BY optimizer
ORDER BY steps;
