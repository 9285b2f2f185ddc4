-- How many steps each optimizer's runs took to a cost of 0.5, in the median over seeds: talweg export STUDY study.parquet
SELECT optimizer, median(steps) AS steps, count(*) AS seeds
FROM (SELECT optimizer, run, min(step) AS steps FROM 'study.parquet' WHERE cost < 0.5 GROUP BY optimizer, run)
GROUP BY optimizer
ORDER BY steps;
